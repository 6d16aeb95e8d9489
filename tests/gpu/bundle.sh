#!/bin/bash
# Makes a folder that runs on a machine with a GPU, CUDA's libraries and a recent glibc, and nothing else of ours: the
# programs, stripped, with the shared libraries they need except those of glibc and CUDA; Open MPI's mpirun and what it
# loads; configs, and what is named. Programs and libraries are packed, to be small on their way; the first start unpacks
# them.
#
#   tests/gpu/bundle.sh BUILD-FOLDER OUT-FOLDER [GOLDEN.safetensors | IMAGES.gz]…
set -euo pipefail
build=$1
out=$2
shift 2

rm -rf "$out"
mkdir -p "$out"/{configs,goldens,data} "$out/lib/bin"

# start NAME: a script that starts lib/bin/NAME with the bundle's libraries and its Open MPI. What is unpacked appears
# under its name all at once: other ranks may be starting too. PMIx looks for its compression where it was built:
# it would miss it aloud, or find another version's.
start() {
  cat >"$out/$1" <<RUN
#!/bin/bash
here=\$(dirname "\$(readlink -f "\$0")")
if [ ! -d "\$here/lib" ]; then
  new=\$(mktemp -d "\$here/.unpack.XXXXXX")
  tar -xzf "\$here/lib.tar.gz" -C "\$new" && { mv -T "\$new/lib" "\$here/lib" 2>/dev/null || [ -d "\$here/lib" ]; } || exit
  rm -rf "\$new"
fi
export OPAL_PREFIX=\$here/lib PMIX_MCA_pcompress=^zlib PMIX_MCA_pcompress_base_silence_warning=1
export PATH=\$here/lib/bin:\$PATH
export LD_LIBRARY_PATH=\$here/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}:/usr/local/cuda/lib64
exec "\$here/lib/bin/$1" "\$@"
RUN
  chmod +x "$out/$1"
}
for program in shardit gpu_sweep nccl_check attention_bench; do
  strip -o "$out/lib/bin/$program" "$build/$program"
  start $program
done

# Open MPI finds its parts by OPAL_PREFIX, in the folders that they have below its prefix here.
where() { ompi_info --path "$1" --parsable | cut -d: -f3; }
prefix=$(where prefix)
parts=$out/lib/$(realpath --relative-to="$prefix" "$(where pkglibdir)")
texts=$out/lib/$(realpath --relative-to="$prefix" "$(where pkgdatadir)")
mkdir -p "$parts" "$texts"
cp "$(where pkgdatadir)"/help-*.txt "$texts"
strip -o "$out/lib/bin/mpirun" "$(where bindir)/orterun"
strip -o "$out/lib/bin/orted" "$(where bindir)/orted"
start mpirun
# Without OpenSHMEM and networks of a kind of their own: memory and TCP carry what the ranks' hosts say.
special='lib(fabric|ibverbs|ucp|psm_infinipath|psm2|nl-3|flux|oshmem)[^/]*\.so'
for part in "$(where pkglibdir)"/mca_*.so; do
  ldd "$part" | grep -qE "$special" || strip -o "$parts/$(basename "$part")" "$part"
done

foreign='/(libc|libm|libdl|librt|libpthread|libresolv|ld-linux-x86-64|libcu[a-zA-Z]*|libnv[a-zA-Z]*)\.so'
ldd "$build"/{shardit,gpu_sweep,nccl_check,attention_bench} "$(where bindir)/orterun" "$parts"/*.so |
  awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | grep -vE "$foreign" |
  while read -r library; do
    strip -o "$out/lib/$(basename "$library")" "$library"
  done
tar -czf "$out/lib.tar.gz" -C "$out" lib
rm -r "$out/lib"
here=$(dirname "$(readlink -f "$0")")
cp "$here"/../../configs/*.textproto "$out/configs"
cp "$here"/{gpu_check.sh,../bench/peer_torch.py} "$out"
for file in "$@"; do
  case $file in
    *.safetensors) cp "$file" "$out/goldens" ;;
    *) cp "$file" "$out/data" ;;
  esac
done
du -sh "$out"
