#!/bin/bash
# Builds a Debian 12 i386 disk for the browser: OUT/debian.img (ext4, 1 GiB logical), its chunks and OUT/machine.json.
# Runs on Debian as root, without mounting anything. Takes the packages from the machine's own apt sources (or MIRROR=…).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-public/debian}
size=${SIZE:-1100M}
work=${WORK:-.cache/debian}

[ "$(id -u)" = 0 ] || { echo "guest:debian needs root: it unpacks packages with their owners (try sudo)" >&2; exit 1; }
missing=()
for pair in mmdebstrap:mmdebstrap arch-test:arch-test mke2fs:e2fsprogs; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ ${#missing[@]} = 0 ] || apt-get install -y --no-install-recommends "${missing[@]}"

mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '/bookworm$/ {print $1; exit}')}
[ -n "$mirror" ] || { echo "no bookworm mirror in this machine's apt sources: say MIRROR=http://… npm run guest:debian" >&2; exit 1; }

packages=busybox-static,procps,less,iproute2,iputils-ping,ca-certificates,e2fsprogs
packages+=,gcc,libc6-dev,make,python3,vim,strace,tcpdump,iperf3,fio,curl,pciutils,man-db,manpages,manpages-dev

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1735689600}
root=$work/root
mkdir -p "$work" "$out"
# The packages are unpacked again only when the list of them changed.
if [ "$(cat "$work/built" 2>/dev/null)" != "$packages" ]; then
  rm -rf "$root" "$work/built"
  echo "debian: packages from $mirror" >&2
  mmdebstrap --mode=root --architectures=i386 --variant=minbase --format=directory \
    --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/??/*' --dpkgopt='path-exclude=/usr/share/man/??_*/*' \
    --aptopt='Apt::Install-Recommends "false"' \
    bookworm "$root" "deb $mirror bookworm main"
  echo ringlet >"$root/etc/hostname"
  printf '127.0.0.1 localhost ringlet\n' >"$root/etc/hosts"
  # Root logs in without a password: the machine is reachable by nobody but whoever opened the tab.
  sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
  chroot "$root" mandb -q || true
  echo "$packages" >"$work/built"
fi
# Ours: busybox's init instead of a runlevel system, and the agent of the default guest, run by busybox's shell but running Debian's.
install -o 0 -g 0 -m 644 guest/debian/etc/{inittab,fstab} "$root/etc/"
install -o 0 -g 0 -m 755 guest/debian/etc/rc.* "$root/etc/"
install -o 0 -g 0 -m 755 guest/debian/sbin/* "$root/sbin/"
sed -e '1s|/bin/sh|/bin/busybox sh|' -e 's|^  sh -c|  /bin/bash -c|' guest/rootfs/sbin/ringlet-exec >"$root/sbin/ringlet-exec"
mkdir -p "$root/etc/udhcpc"
sed '1s|/bin/sh|/bin/busybox sh|' guest/rootfs/etc/udhcpc/default.script >"$root/etc/udhcpc/default.script"
chmod 755 "$root/sbin/ringlet-exec" "$root/etc/udhcpc/default.script"
for name in init halt poweroff reboot; do ln -sf ../bin/busybox "$root/sbin/$name"; done
find "$root" -xdev -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0 touch --no-dereference --date="@$SOURCE_DATE_EPOCH"

image=$work/debian.img
rm -f "$image"
E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -d "$root" -L ringlet \
  -U 5f1c7a0e-0d6b-4f5e-8d55-2b1a6c9e7d10 -E hash_seed=9c3f4f0e-7f3e-4a57-8f0e-31f6b2a8c4d1,lazy_itable_init=1,lazy_journal_init=1 \
  -O ^metadata_csum_seed -J size=16 -m 1 "$image" "$size"
rm -rf "$out/chunks" # those of an earlier build
npm run -s image -- pack "$image" "$out" --level "${LEVEL:-19}"
cp guest/debian-machine.json "$out/machine.json"
# What a boot and a login read is fetched before the guest asks for it.
npm run -s image -- record "$out/machine.json" --type root
du -sh --apparent-size "$image" "$out" >&2
