#!/bin/bash
# Makes a folder that runs on a machine with a GPU, CUDA's libraries and a recent glibc, and nothing else of ours: the
# programs, stripped, with the shared libraries they need except those of glibc and CUDA; configs, and what is named.
# The libraries are packed, to be small on their way; a program's first start unpacks them.
#
#   tests/gpu/bundle.sh BUILD-FOLDER OUT-FOLDER [GOLDEN.safetensors | IMAGES.gz]…
set -euo pipefail
build=$1
out=$2
shift 2

rm -rf "$out"
mkdir -p "$out"/{bin,lib,configs,goldens,data}
for program in shardit gpu_sweep; do
  strip -o "$out/bin/$program" "$build/$program"
  cat >"$out/$program" <<RUN
#!/bin/bash
here=\$(dirname "\$(readlink -f "\$0")")
[ -d "\$here/lib" ] || tar -xzf "\$here/lib.tar.gz" -C "\$here"
LD_LIBRARY_PATH=\$here/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}:/usr/local/cuda/lib64 exec "\$here/bin/$program" "\$@"
RUN
  chmod +x "$out/$program"
done
foreign='/(libc|libm|libdl|librt|libpthread|libresolv|ld-linux-x86-64|libcu[a-zA-Z]*|libnv[a-zA-Z]*)\.so'
ldd "$build/shardit" "$build/gpu_sweep" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | grep -vE "$foreign" |
  while read -r library; do
    strip -o "$out/lib/$(basename "$library")" "$library"
  done
tar -czf "$out/lib.tar.gz" -C "$out" lib
rm -r "$out/lib"
here=$(dirname "$(readlink -f "$0")")
cp "$here"/../../configs/*.textproto "$out/configs"
cp "$here/gpu_check.sh" "$out"
for file in "$@"; do
  case $file in
    *.safetensors) cp "$file" "$out/goldens" ;;
    *) cp "$file" "$out/data" ;;
  esac
done
du -sh "$out"
