#!/bin/bash
# Puts SeaBIOS into public/bios/, from Debian's package, unchanged: OUT/bios-256k.bin and the package's copyright file (LGPL-3).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-public/bios}
from=/
if [ ! -e /usr/share/seabios/bios-256k.bin ]; then
  command -v apt-get dpkg-deb >/dev/null || { echo "bios: SeaBIOS comes from Debian's package seabios: run this on Debian, or copy its bios-256k.bin to $out" >&2; exit 1; }
  from=$(mktemp -d)
  trap 'rm -r "$from"' EXIT
  (cd "$from" && apt-get -q download seabios >&2 && dpkg-deb -x seabios_*.deb .)
fi
mkdir -p "$out"
cp "$from/usr/share/seabios/bios-256k.bin" "$out/"
cp "$from/usr/share/doc/seabios/copyright" "$out/copyright"
ls -l "$out/bios-256k.bin" >&2
