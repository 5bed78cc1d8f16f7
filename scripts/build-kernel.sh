#!/bin/sh
# Compiles src/kernels/wasm/kernel.as into src/kernels/kernel-bytes.ts. Run it after a change of the source; a test
# compares the hash of the source. The compiler is no dependency of the project (it weighs 94 MB).
set -eu
root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$root/src/kernels/wasm/kernel.as
cp "$source" "$work/kernel.ts"
cd "$work"
npx --yes --package=assemblyscript@0.28.20 asc kernel.ts --outFile kernel.wasm -O3 --noAssert \
  --runtime stub --importMemory --initialMemory 4 --use abort=
{
  echo "/** Made by scripts/build-kernel.sh from wasm/kernel.as: do not edit. */"
  echo
  echo "export const KERNEL_SOURCE_SHA256 ="
  echo "  '$(sha256sum "$source" | cut -d' ' -f1)';"
  echo
  echo "export const KERNEL_BASE64 = ["
  base64 -w 90 kernel.wasm | sed "s/.*/  '&',/"
  echo "].join('');"
} > "$root/src/kernels/kernel-bytes.ts"
