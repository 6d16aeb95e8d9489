#!/bin/bash
# For a machine with a GPU: the program on it, held against the CPU, the reference and itself, and measured beside the
# card's own rates and PyTorch. Prints a line per finding.
#
#   gpu_check.sh OUT [doctor] [start] [parity] [train] [repeat] [resume] [recompute] [demo] [sample] [nccl] [stopped]
#                    [sweep] [sanitizer] [kernels] [tune] [xl2] [peer]
#
# All parts in this order if none is named; repeat, resume and recompute look at what train left in OUT, sample at what
# demo left, xl2 at the table of tune, peer at the steps of xl2.
# nccl and stopped start several ranks on one GPU, with the mpirun beside this script or else the machine's.
# All findings also go to OUT/report.json and, as a table, to OUT/report.md; logs and each part's JSON lie beside them.
# Exit code: 0 all is as it should be, 1 something is not, 3 there is no GPU to be used.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
shardit=$here/shardit
mpirun=$([ -x "$here/mpirun" ] && echo "$here/mpirun" || echo mpirun)
out=${1:?gpu_check.sh OUT [PART]…}
shift
every="doctor start parity train repeat resume recompute demo sample nccl stopped sweep sanitizer kernels tune xl2 peer"
parts=${*:-$every}
mkdir -p "$out"
failed=0

row() { # PART WHAT RESULT DETAIL
  printf '%-8s %-34s %-6s %s\n' "$@"
  printf '%s\t%s\t%s\t%s\n' "${@//[$'\t\n']/ }" >>"$out/rows.tsv"
}

# What row() was called with, as JSON and as a table.
report() { # OK? SECONDS
  local gpu
  gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
  awk -F '\t' -v gpu="${gpu:-unknown}" -v date="$(date -u +%FT%TZ)" -v ok="$1" -v took="$2" '
    function quoted(x) { gsub(/\\/, "&&", x); gsub(/"/, "\\\"", x); gsub(/[[:cntrl:]]/, " ", x); return "\"" x "\"" }
    BEGIN { printf "{\"gpu\": %s, \"date\": \"%s\", \"ok\": %s, \"took_s\": %s, \"findings\": [", quoted(gpu), date, ok, took }
    { printf "%s\n{\"part\": %s, \"what\": %s, \"result\": %s, \"detail\": %s}", (NR > 1 ? "," : ""), quoted($1), quoted($2), quoted($3), quoted($4) }
    END { print "\n]}" }' "$out/rows.tsv" >"$out/report.json"
  awk -F '\t' -v gpu="${gpu:-unknown GPU}" -v date="$(date -u +%F)" '
    BEGIN { printf "%s (name, driver), %s\n\n| part | what | result | |\n|---|---|---|---|\n", gpu, date }
    { for (i = 1; i <= 4; ++i) gsub(/\|/, "\\|", $i); printf "| %s | %s | %s | %s |\n", $1, $2, $3, $4 }' "$out/rows.tsv" >"$out/report.md"
}

# judge PART WHAT CONDITION-CODE DETAIL
judge() {
  if [ "$3" -eq 0 ]; then row "$1" "$2" ok "$4"; else row "$1" "$2" FAILED "$4"; failed=1; fi
}

# call LOG command…: its output in LOG, in at most $limit seconds; says the last lines of it where the command fails.
call() {
  local log=$out/$1 code=0
  shift
  timeout "${limit:-120}" "$@" >"$log" 2>&1 || code=$?
  [ $code -eq 0 ] || { echo "  exit code $code: $*"; tail -n 4 "$log" | sed 's/^/  /'; }
  return $code
}

# refused PART CODE WORDS LOG command…: it ends with that exit code and says so.
refused() {
  local part=$1 expected=$2 words=$3 log=$4 code
  shift 4
  call "$log" "$@" >/dev/null
  code=$?
  [ $code -eq "$expected" ] && grep -q "$words" "$out/$log"
  judge "$part" "refused: $words" $? "exit code $code: $(grep '^shardit' "$out/$log" | head -n 1 | cut -c1-120)"
}

train() { # LOG RUN CONFIG flags…
  local log=$1 run=$out/$2 config=$3
  shift 3
  call "$log" "$shardit" train "$config" --run-dir "$run" "$@"
}
on_ranks=("$mpirun" --oversubscribe --bind-to none -np)
job() { # LOG command…
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 call "$@"
}
# ranks N LOG RUN flags…: 12 steps of the tiny run in bf16, or $steps, its ranks sharing the GPU.
ranks() {
  local n=$1 log=$2 run=$out/$3 steps=${steps:-12}
  shift 3
  fresh "$(basename "$run")"
  job "$log" "$shardit" launch --share-gpu --max-restarts 0 -- "${on_ranks[@]}" "$n" \
    "$shardit" train "$tiny" --run-dir "$run" --device cuda --set precision.compute=bf16 --steps "$steps" "$@"
}
fresh() { rm -rf "${out:?}/$1"; }
numbers() { grep '"step_ms"' "$out/$1/metrics.jsonl" | grep -o "\"$2\":[^,}]*" | cut -d: -f2; } # RUN KEY
digest() { "$shardit" checkpoint inspect "$out/$1" --digest 2>>"$out/digest.log"; }
since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f s", b - a }'; }

doctor() {
  call doctor.log "$shardit" doctor --gpus
  judge doctor "a GPU can be used" $? "$(grep '^gpus' "$out/doctor.log" | cut -c17-)"
  "$shardit" doctor --json >"$out/doctor.json"
}

# What a run says of its GPU, and how one ends that cannot start.
start() {
  fresh auto
  train auto.log auto "$tiny" --device auto --steps 2 && grep -q '^device: cuda' "$out/auto.log"
  judge start "device auto" $? "$(grep -m 1 '^device' "$out/auto.log")"
  grep -o '"gpu_[a-z_]*":[^,}]*' "$out/auto/metrics.jsonl" | tail -n 4 | paste -sd ' ' >"$out/gauges.txt"
  grep -q gpu_watts "$out/gauges.txt"
  judge start "watts, degrees, clocks in the metrics" $? "$(cat "$out/gauges.txt")"
  fresh refused
  refused start 2 'per rank' too-large.log "$shardit" train "$here/configs/xl2-256.textproto" --device cuda \
    --run-dir "$out/refused" --set micro_batch_size=4096 --set global_batch_size=4096
  refused start 3 'no GPU' hidden.log env CUDA_VISIBLE_DEVICES= "$shardit" train "$tiny" --device cuda --run-dir "$out/refused"
}

parity() {
  local precision file begin code
  for precision in fp32 tf32 bf16; do
    for file in "$here"/goldens/*.safetensors; do
      begin=$(date +%s.%N)
      call "parity-$precision-$(basename "$file").log" "$shardit" parity "$file" --device cuda --precision "$precision"
      code=$?
      judge parity "$precision $(basename "$file" .safetensors)" $code "$(since "$begin")"
      sed "s|^$here/goldens/[^ ]*|        |" "$out/parity-$precision-$(basename "$file").log"
    done
    "$shardit" parity "$here"/goldens/*.safetensors --device cuda --precision $precision --json \
      >"$out/parity-$precision.json" 2>/dev/null
  done
}

tiny=$here/configs/equality-tiny.textproto
train_part() {
  local precision
  for precision in fp32 bf16; do
    fresh "cpu-$precision"
    fresh "cuda-$precision"
    train "train-cuda-$precision.log" "cuda-$precision" "$tiny" --device cuda --set precision.compute=$precision
    judge train "$precision: 40 steps on cuda" $? "$(digest cuda-$precision)"
    train "train-cpu-$precision.log" "cpu-$precision" "$tiny" --device cpu --set precision.compute=$precision
    judge train "$precision: 40 steps on cpu" $? "$(digest cpu-$precision)"
    paste <(numbers cpu-$precision loss) <(numbers cuda-$precision loss) >"$out/losses-$precision.txt"
    awk -v limit=$([ $precision = fp32 ] && echo 1e-3 || echo 5e-2) '
      NF == 2 { d = ($1 > $2 ? $1 - $2 : $2 - $1) / $1; if (d > worst) worst = d; n++ }
      n % 10 == 1 || n == 40 { printf "         step %2d   cpu %-20s cuda %-20s\n", n, $1, $2 }
      END { printf "%.2e\n", worst > "/dev/stderr"; exit !(n > 0 && worst <= limit) }' "$out/losses-$precision.txt" 2>"$out/worst.txt"
    judge train "$precision: losses agree" $? "largest relative difference $(tail -n 1 "$out/worst.txt")"
  done
}

same_digest() { # PART WHAT RUN RUN
  local a b
  a=$(digest "$3") b=$(digest "$4")
  [ -n "$a" ] && [ "$a" = "$b" ]
  judge "$1" "$2" $? "$a, $b"
}

repeat() {
  fresh again
  train repeat.log again "$tiny" --device cuda --set precision.compute=bf16
  same_digest repeat "the same run once more: digests" cuda-bf16 again
}

resume() {
  fresh parts
  train resume-1.log parts "$tiny" --device cuda --set precision.compute=bf16 --steps 17 &&
    train resume-2.log parts "$tiny" --device cuda --set precision.compute=bf16
  same_digest resume "stopped after 17 of 40: digests" cuda-bf16 parts
  grep -qs 'resume proof holds bitwise' "$out/resume-2.log"
  judge resume "the resume proof" $? "$(grep -os 'resume proof.*' "$out/resume-2.log" | head -n 1)"
  fresh other
  cp -r "$out/parts" "$out/other"
  rm -rf "$out"/other/checkpoints/step-00000040
  train resume-cpu.log other "$tiny" --device cpu --set precision.compute=bf16 --steps 31 &&
    grep -q 'resume proof holds' "$out/resume-cpu.log"
  judge resume "a checkpoint of cuda goes on on cpu" $? "$(grep -o 'resume proof.*' "$out/resume-cpu.log" | cut -c1-60 | head -n 1)"
}

# Backward from values computed again: the bits of values kept.
recompute() {
  local policy
  for policy in selective block; do
    fresh $policy
    train recompute-$policy.log $policy "$tiny" --device cuda --set precision.compute=bf16 \
      --set parallel.recompute=$policy
    same_digest recompute "$policy: digests" cuda-bf16 $policy
  done
}

demo() {
  fresh demo
  train demo.log demo "$here/configs/demo.textproto" --device cuda --steps 200 --trace-steps 150:151 \
    --set data.path="$here/data"
  judge demo "200 steps of the demo" $? "loss $(numbers demo loss | head -n 1) to $(numbers demo loss | tail -n 1)"
  row demo "images per second" "" \
    "$(numbers demo images_per_s | tail -n 100 | sort -g | awk '{ x[NR] = $1 } END { printf "%.0f (median of the last 100 steps)", x[int((NR + 1) / 2)] }')"
}

sample() {
  local begin code
  begin=$(date +%s.%N)
  call sample.log "$shardit" sample "$out/demo" --device cuda --num 100 --out "$out/samples.png" --npz "$out/samples.npz"
  code=$?
  judge sample "100 images, 18 steps of Heun, guided" $code "$(since "$begin")"
}

# The collectives alone, then what is made of them. Any number of ranks at any stage makes the weights of one rank without
# NCCL; also in two levels.
nccl() {
  local n groups stage told
  for n in 2 4; do
    for groups in 1 2; do
      NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=REG NCCL_DEBUG_FILE="$out/nccl-says-$n-$groups-%p.log" SHARDIT_SHARE_GPU=1 \
        job nccl-check-$n-$groups.log "${on_ranks[@]}" "$n" "$here/nccl_check" $groups
      judge nccl "collectives: $n ranks, $groups groups" $? "$(tail -n 1 "$out/nccl-check-$n-$groups.log")"
      told=$(cat "$out/nccl-says-$n-$groups"-*.log 2>/dev/null | grep -c 'register comm .* buffer')
      [ "$told" -gt 0 ]
      judge nccl "memory registered: $n ranks, $groups groups" $? "$told times"
    done
  done
  fresh nccl-alone
  train nccl-alone.log nccl-alone "$tiny" --device cuda --set precision.compute=bf16 --steps 12
  judge nccl "12 steps on one rank alone" $? "$(digest nccl-alone)"
  for n in 1 2 4; do
    for stage in 0 1 2 3; do
      ranks $n nccl-$n-$stage.log nccl-$n-$stage --set parallel.zero_stage=$stage
      same_digest nccl "$n ranks, stage $stage: digests" nccl-alone nccl-$n-$stage
    done
  done
  for stage in 2 3; do
    ranks 4 nccl-2x2-$stage.log nccl-2x2-$stage --set parallel.zero_stage=$stage --set parallel.replicate_group=2
    same_digest nccl "2 x 2 ranks, stage $stage: digests" nccl-alone nccl-2x2-$stage
  done
  for stage in 1 3; do
    ranks 2 nccl-fastest-$stage.log nccl-fastest-$stage --set parallel.zero_stage=$stage --set parallel.reduction=fastest
    judge nccl "2 ranks, stage $stage, fastest" $? "loss $(numbers nccl-fastest-$stage loss | tail -n 1), canonical $(numbers nccl-alone loss | tail -n 1)"
  done
}

# A rank that is stopped in the middle is found by the others' watchdogs: exit code 6, and its name.
stopped() {
  local begin code pid victim=
  begin=$(date +%s.%N)
  steps=40 ranks 2 stopped.log stopped --set parallel.zero_stage=3 --set parallel.watchdog_s=10 >"$out/stopped.txt" &
  pid=$!
  until grep -qs '"step":5' "$out/stopped/metrics.jsonl" || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
  for process in /proc/[0-9]*; do
    grep -qsz '^OMPI_COMM_WORLD_RANK=1$' "$process/environ" && grep -qsz "^$out/stopped$" "$process/cmdline" &&
      victim=${process#/proc/} && kill -STOP "$victim"
  done
  wait $pid
  code=$?
  [ -n "$victim" ] && kill -KILL "$victim" 2>/dev/null
  [ $code -eq 6 ] && grep -q 'rank 1 does not answer; rank 0 waits in ' "$out/stopped.log"
  judge stopped "a stopped rank is named" $? "exit code $code after $(since "$begin"): $(grep -o 'rank 1 does not answer.*' "$out/stopped.log" | head -n 1)"
}

# The library's fastest algorithms for DiffiT-XL/2, and a step of it with the library's own choice and with them. Then what
# a table must not change: two runs are one, and a resume uses the table of its checkpoint and takes no other.
tune() {
  local xl=$here/configs/xl2-256.textproto on=(--set device=cuda) table way micro
  rm -f "$out"/products-{xl,tiny}.txt
  for micro in 32 64 128; do
    limit=240 call tune-$micro.log "$shardit" bench ops "$xl" --tune "${on[@]}" --set product_table="$out/products-xl.txt" \
      --set micro_batch_size=$micro --set global_batch_size=$((4 * micro)) --json "$out/tune-$micro.json"
    judge tune "products of xl2-256, micro-batch $micro" $? "$(tail -n 1 "$out/tune-$micro.log")"
    sed 's/^/         /' "$out/tune-$micro.log"
  done
  for way in own tuned own tuned; do
    table=$([ $way = own ] || echo "$out/products-xl.txt")
    call step-$way.log "$shardit" bench step "$xl" "${on[@]}" --steps 10 --set product_table="$table"
    judge tune "a step of xl2-256, $way" $? "$(grep -E '^(step|mfu) ' "$out/step-$way.log" | cut -d, -f1 | cut -d: -f1 | paste -sd ' ')"
  done

  on+=(--set precision.compute=bf16 --set product_table="$out/products-tiny.txt")
  call tune-tiny.log "$shardit" bench ops "$tiny" --tune "${on[@]}"
  judge tune "products of equality-tiny" $? "$(tail -n 1 "$out/tune-tiny.log")"
  fresh tuned
  fresh tuned-parts
  train tuned.log tuned "$tiny" "${on[@]}" --steps 20
  judge tune "20 steps with a table" $? "$(grep -o 'product table: .*' "$out/tuned.log" | head -n 1)"
  train tuned-1.log tuned-parts "$tiny" "${on[@]}" --steps 10
  train tuned-2.log tuned-parts "$tiny" "${on[@]}" --set product_table= --steps 20
  same_digest tune "resumed without naming it: digests" tuned tuned-parts
  grep -qs 'resume proof holds bitwise' "$out/tuned-2.log"
  judge tune "the resume proof" $? "$(grep -os 'resume proof.*' "$out/tuned-2.log" | head -n 1)"
  : >"$out/products-none.txt"
  refused tune 2 'product table, which has other' tuned-3.log "$shardit" train "$tiny" --run-dir "$out/tuned-parts" \
    "${on[@]}" --set product_table="$out/products-none.txt"
}

# Every kernel against the CPU's, then our own (not the library's) under the tools that find wrong accesses and races.
sweep() {
  call sweep.log "$here/gpu_sweep" --seeds 1 --json "$out/sweep.json"
  judge sweep "kernels against the CPU's" $? "$(tail -n 1 "$out/sweep.log")"
}

# Those whose threads share memory or whose addresses are more than a walk through their operands.
own="attention attention_grad layer_norm layer_norm_grad add_layer_norm layer_norm_grad_add sum_leading adamw embedding
  embedding_grad patchify unpatchify split_last concat_last mean_squared_error variational_bound gradient_norm fold draw_normal"

sanitizer() {
  local tool
  command -v compute-sanitizer >/dev/null || { row sanitizer "compute-sanitizer" "" "not on this machine"; return; }
  for tool in memcheck racecheck synccheck; do
    limit=240 call $tool.log compute-sanitizer --tool $tool --target-processes all --kernel-regex kns=shardit \
      --error-exitcode 9 "$here/gpu_sweep" --seeds 1 --cards $own
    judge sanitizer $tool $? "$(grep -a 'SUMMARY' "$out/$tool.log" | tail -n 1)"
  done
}

# Our kernels beside a copy of the card, products beside the fastest of them, attention beside fp64.
kernels() {
  limit=240 call kernels.log "$here/gpu_sweep" --bench --seeds 1 --json "$out/kernels.json"
  judge kernels "kernels and products are right" $? "$(grep -E '^(copy from device|8192 -> 8192, forward)' "$out/kernels.log" | tr -s ' ' | paste -sd ';')"
  row kernels "under 0.85 of a copy's rate" "" "$(awk '/^card / { on = 1; next } /^product / { on = 0 }
    on && NF > 4 && $NF < 0.85 { n = $0; sub(/ +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+$/, "", n); printf "%s%s %s", sep, n, $NF; sep = "; " }' "$out/kernels.log")"
  limit=120 call attention.log "$here/attention_bench" --json "$out/attention.json"
  judge kernels "attention near fp64, to the bit" $? "$(tail -n 1 "$out/attention.log")"
  grep '| forward' "$out/attention.log" | sed 's/^/         /'
}

# Steps of DiffiT-XL/2 at both sizes, as large as the card holds; beside them what `plan` says of an H200.
xl2() {
  local size micro table=$out/products-xl.txt gib code planned
  gib=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1 | awk '{ print int($1 / 1024) }')
  for size in 256 512; do
    for micro in $([ $size = 256 ] && echo 32 64 128 || { echo 16 32 && [ "${gib:-0}" -ge 100 ] && echo 64; }); do
      call xl2-$size-$micro.log "$shardit" bench step "$here/configs/xl2-$size.textproto" --set device=cuda --steps 10 \
        --set micro_batch_size=$micro --set global_batch_size=$((4 * micro)) --json "$out/xl2-$size-$micro.json" \
        $([ -f "$table" ] && echo --set "product_table=$table")
      code=$?
      planned=$("$shardit" plan "$here/configs/xl2-$size.textproto" --cluster h200-ib400 --set micro_batch_size=$micro \
        --set global_batch_size=$((4 * micro)) | awk '$1 == "step" { print $2 " " $3 }')
      judge xl2 "$size: 4 micro-batches of $micro" $code "$(grep -oE '^(step [0-9.]+ ms, [0-9.]+ images/s|mfu [0-9.]+)' \
        "$out/xl2-$size-$micro.log" | paste -sd ' ') (an H200 by plan: $planned)"
    done
  done
}

# The same model in PyTorch on the same card: its best, blocks compiled, an update after every micro-batch.
peer() {
  local size micro code theirs ours
  python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null ||
    { row peer "PyTorch" "" "python3 has none that sees a GPU"; return; }
  for size in 256 512; do
    micro=$([ $size = 256 ] && echo 64 || echo 16)
    limit=200 call peer-$size.log python3 "$here/peer_torch.py" --hidden 1152 --depth 28 --heads 16 --classes 1000 \
      --dtype bf16 --ema --steps 8 --warmup 3 --compile blocks --input-size $((size / 8)) --batch $micro
    code=$?
    theirs=$(grep -oE '"images_per_s": [0-9.]+' "$out/peer-$size.log" | grep -oE '[0-9.]+$')
    ours=$(grep -m 1 '^step ' "$out/xl2-$size-$micro.log" 2>/dev/null | grep -oE '[0-9.]+ images' | cut -d' ' -f1)
    judge peer "$size: PyTorch, $micro images" $code \
      "$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%s images/s", b; if (a && b) printf "; ours %s, %.2f x", a, a / b }')"
  done
}

need_gpu() {
  "$shardit" doctor --gpus >"$out/doctor.log" 2>&1 && return
  echo "gpu_check.sh: $(grep '^shardit: ' "$out/doctor.log" || tail -n 1 "$out/doctor.log")" >&2
  exit 3
}

for part in $parts; do
  [[ " $every " == *" $part "* ]] || { echo "gpu_check.sh: there is no part $part; there are $every" >&2; exit 2; }
done
need_gpu
: >"$out/rows.tsv"
all=$(date +%s)
for part in $parts; do
  case $part in
    train) train_part ;;
    *) $part ;;
  esac
done
took=$(($(date +%s) - all))
report $([ $failed -eq 0 ] && echo true || echo false) $took
echo "took $took s, $([ $failed -eq 0 ] && echo "all as it should be" || echo "something is not as it should be"); $out/report.md"
exit $failed
