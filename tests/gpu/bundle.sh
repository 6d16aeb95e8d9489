#!/bin/bash
# Makes a folder that runs on a machine with a GPU and a recent glibc and nothing else of ours: gpu_sweep, stripped, with
# the shared libraries it needs, except those of glibc and of CUDA (libcublasLt has to be in the target's library path).
#
#   tests/gpu/bundle.sh BUILD-FOLDER OUT-FOLDER
set -euo pipefail
program=$1/gpu_sweep
out=$2

mkdir -p "$out/lib"
strip -o "$out/gpu_sweep" "$program"
system='/(libc|libm|libdl|librt|libpthread|libresolv|ld-linux-x86-64|libcublasLt)\.so'
ldd "$program" | awk '$2 == "=>" { print $3 }' | grep -vE "$system" | while read -r library; do
  strip -o "$out/lib/$(basename "$library")" "$library"
done
cat >"$out/run.sh" <<'RUN'
#!/bin/bash
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$here/gpu_sweep" "$@"
RUN
chmod +x "$out/run.sh"
du -sh "$out"
