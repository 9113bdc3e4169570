#!/bin/bash
# Makes the guest: kernel and initramfs, from Debian's packages pinned in packages.lock, the same bytes wherever it runs.
#   guest/build.sh [--out DIR] [--work DIR] [--lock]
# --out   where the result goes (public/guest)
# --work  where it is built; kept, so that a second run compiles only what changed (.cache/guest)
# --lock  take the packages as apt gives them and write their hashes into packages.lock
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../public/guest work=$here/../.cache/guest relock=
while [ $# -gt 0 ]; do
  case $1 in
  --out) out=$2; shift 2 ;;
  --work) work=$2; shift 2 ;;
  --lock) relock=1; shift ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
mkdir -p "$out" "$work"
out=$(cd "$out" && pwd) work=$(cd "$work" && pwd)
lock=$here/packages.lock
jobs=${JOBS:-$(nproc)}

say() { printf 'guest: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
locked() { awk -v kind="$1" '$1 == kind' "$lock"; }
epoch=$(locked epoch | cut -d' ' -f2)
# Time stamps of files reach the initramfs and must not depend on when this ran
still() { find "$@" -exec touch -h -d "@$epoch" {} +; }

# 1. What compiles and packs
missing=()
while read -r _ package version; do
  installed=$(dpkg-query -W -f '${Version}' "$package" 2> /dev/null || true)
  if [ -z "$installed" ]; then missing+=("$package=$version")
  elif [ "$installed" != "$version" ]; then say "$package is $installed, packages.lock has $version: the result may differ from the committed one"; fi
done < <(locked build)
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "run as root: apt-get install ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get -qq update && apt-get -qqy install --no-install-recommends "${missing[@]}" > /dev/null
fi

# 2. The packages, through apt with a private state, so that nothing of this machine's own changes
apt_for() { # architecture
  local root=$work/apt-$1
  if [ ! -e "$root/updated" ]; then
    mkdir -p "$root"/{state/lists/partial,cache/archives/partial,none}
    : > "$root/status"
    cat > "$root/apt.conf" <<CONF
APT::Architecture "$1";
APT::Architectures { "$1"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$root/state";
Dir::State::status "$root/status";
Dir::Cache "$root/cache";
Dir::Etc::preferences "$root/none/preferences";
Dir::Etc::preferencesparts "$root/none";
CONF
    say "reading apt's lists for $1"
    # One list that fails does no harm as long as the pinned versions are in the others
    APT_CONFIG=$root/apt.conf apt-get -qq update > "$root/log" 2>&1 || say "apt-get update had faults, see $root/log"
    touch "$root/updated"
  fi
  echo "$root/apt.conf"
}
packages=$work/packages
mkdir -p "$packages"
hash() { sha256sum "$1" | cut -d' ' -f1; }
download() { # architecture package=version
  local conf && conf=$(apt_for "$1")
  (cd "$packages/new" && APT_CONFIG=$conf apt-get -qq download "$2" > /dev/null 2>&1)
}
fetch() { # package architecture version sha256
  local file=$packages/$1_$3_$2.deb native=$2
  if [ ! -e "$file" ]; then
    [ "$native" != all ] || native=amd64
    say "fetching $1 $3"
    rm -rf "$packages/new" && mkdir "$packages/new"
    # Lists kept from an earlier run may be older than the lock
    download "$native" "$1=$3" || { rm -f "$work/apt-$native/updated" && download "$native" "$1=$3"; } ||
      fail "$1 $3 ($2) is no longer in this machine's Debian mirror: add a snapshot of Debian that has it to apt's sources, or put the version of 'apt-cache policy $1' into packages.lock and run guest/build.sh --lock."
    mv "$packages"/new/*.deb "$file" && rmdir "$packages/new"
  fi
  [ -n "$relock" ] && return
  [ "$(hash "$file")" = "$4" ] || fail "$1 $3 ($2) has not the SHA-256 of packages.lock: remove $file and try again, and if it stays so do not trust the mirror."
}
while read -r kind package architecture version licence sum; do
  fetch "$package" "$architecture" "$version" "${sum:-}"
  if [ -n "$relock" ]; then
    sum=$(hash "$packages/${package}_${version}_$architecture.deb")
    sed -i "s|^$kind $package $architecture .*|$kind $package $architecture $version $licence $sum|" "$lock"
  fi
done < <(locked source; locked guest)
[ -z "$relock" ] || say "packages.lock has the hashes of its versions"
debs() { locked "$1" | while read -r _ package architecture version _; do echo "$packages/${package}_${version}_$architecture.deb"; done; }

# 3. Unpacked
linux=$(locked source | awk '{ print $2 "_" $4 }')
source=$work/$linux
if [ ! -e "$source/.unpacked" ]; then
  say "unpacking $linux"
  rm -rf "$source" "$work/kernel" && mkdir "$source"
  dpkg-deb --fsys-tarfile "$(debs source)" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | tar -xJ -C "$source" --strip-components=1
  touch "$source/.unpacked"
fi
rm -rf "$work/deb" "$work/rootfs"
mkdir "$work/deb"
debs guest | while read -r deb; do dpkg-deb -x "$deb" "$work/deb"; done
cp -r "$here/rootfs" "$work/rootfs"

# 4. The kernel
kernel=$work/kernel
mkdir -p "$kernel"
make_kernel() {
  make -s -C "$source" O="$kernel" ARCH=i386 CC=gcc-12 HOSTCC=gcc-12 LOCALVERSION= \
    KBUILD_BUILD_USER=ringlet KBUILD_BUILD_HOST=ringlet KBUILD_BUILD_VERSION=1 KBUILD_BUILD_TIMESTAMP="$(date -u -d "@$epoch")" \
    SOURCE_DATE_EPOCH="$epoch" "$@"
}
if ! cmp -s "$here/kernel.config" "$kernel/wanted"; then
  say "configuring the kernel"
  make_kernel KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig > /dev/null
  grep '^CONFIG_' "$here/kernel.config" | grep -vxFf "$kernel/.config" > "$kernel/lost" &&
    fail "the kernel does not take: $(tr '\n' ' ' < "$kernel/lost")(see what these depend on)"
  cp "$here/kernel.config" "$kernel/wanted"
fi
say "compiling the kernel with $jobs jobs (about 12 minutes of two cores the first time)"
make_kernel -j"$jobs" bzImage modules > "$kernel/log" 2>&1 || { tail -30 "$kernel/log" >&2; fail "the kernel did not compile, see $kernel/log"; }

# 5. The initramfs
say "packing the initramfs"
gcc-12 -m32 -march=i686 -Os -Wall -Wno-main -static -nostdlib -fno-pic -no-pie -fno-stack-protector -fno-asynchronous-unwind-tables \
  -idirafter /usr/include/x86_64-linux-gnu -include "$source/tools/include/nolibc/nolibc.h" \
  -s -Wl,--build-id=none -Wl,-z,noseparate-code -o "$work/rootfs/init" "$here/init.c"
gcc-12 -O -o "$work/gen_init_cpio" "$source/usr/gen_init_cpio.c"
mkdir "$work/rootfs/modules" && cp "$kernel/samples/rpmsg/rpmsg_client_sample.ko" "$work/rootfs/modules/"
still "$work/deb" "$work/rootfs"
sed -e "s| DEB/| $work/deb/|; s| ROOTFS/| $work/rootfs/|" "$here/initramfs.list" > "$work/initramfs.list"
"$work/gen_init_cpio" -t "$epoch" "$work/initramfs.list" > "$work/initramfs.cpio"

# 6. The result, with the licences of all that is in it
say "compressing"
rm -rf "$out/LICENSES"
mkdir "$out/LICENSES"
cp "$kernel/arch/x86/boot/bzImage" "$out/bzImage"
zstd -q -f -T1 --ultra -22 "$work/initramfs.cpio" -o "$out/initramfs.cpio.zst"
cat "$source/COPYING" "$source/LICENSES/exceptions/Linux-syscall-note" "$source/LICENSES/preferred/GPL-2.0" > "$out/LICENSES/linux"
{
  echo '# What the guest is made of'
  echo
  echo 'Made by `guest/build.sh` from these packages of Debian 12, unchanged; the licence of each is in `LICENSES/` in full.'
  echo 'The source of a package is the Debian source package named beside it (`apt-get source NAME=VERSION`).'
  echo '`bzImage` is the kernel; all else, and one module of the kernel, is in `initramfs.cpio.zst`.'
  echo '`/init` is compiled from `guest/init.c` with nolibc, a part of the kernel under the MIT licence; the scripts are in `guest/rootfs`. Both are Ringlet'\''s own.'
  echo
  echo '| Package | Version | Licence | Source |'
  echo '|---|---|---|---|'
  while read -r _ package architecture version licence _; do
    deb=$packages/${package}_${version}_$architecture.deb
    origin=$(dpkg-deb -f "$deb" Source)
    origin=${origin:-$package}
    case $origin in *\(*) origin_version=${origin#*\(}; origin_version=${origin_version%\)} ;; *) origin_version=$version ;; esac
    echo "| $package | $version | $licence | ${origin%% *} $origin_version |"
    [ ! -e "$work/deb/usr/share/doc/$package/copyright" ] || cp -L "$work/deb/usr/share/doc/$package/copyright" "$out/LICENSES/$package"
  done < <(locked source; locked guest)
  echo
  echo "Compiled with gcc $(locked build | awk '$2 == "gcc-12" { print $3 }')."
} > "$out/NOTICE.md"
# The licences that the packages' copyright files refer to by name
for licence in GPL-2 GPL-3 LGPL-2 LGPL-2.1 LGPL-3; do
  [ ! -e "/usr/share/common-licenses/$licence" ] || cp -L "/usr/share/common-licenses/$licence" "$out/LICENSES/$licence"
done
(cd "$out" && sha256sum bzImage initramfs.cpio.zst > SHA256SUMS)
total=$(($(stat -c %s "$out/bzImage") + $(stat -c %s "$out/initramfs.cpio.zst")))
say "$(stat -c %s "$out/bzImage") bytes of kernel and $(stat -c %s "$out/initramfs.cpio.zst") of initramfs in $out"
cat "$out/SHA256SUMS"
[ "$total" -le 6000000 ] || fail "together $total bytes, more than 6 MB"
