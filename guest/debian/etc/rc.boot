#!/bin/sh
# What a virtual machine needs before a login, and no more.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
case $1 in
halt|reboot)
  sync
  killall5 -15; sleep 0.2; killall5 -9
  mount -o remount,ro / 2>/dev/null
  [ "$1" = halt ] && exec /sbin/halt -d -f -p
  exec /sbin/reboot -d -f
  ;;
esac
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mountpoint -q /dev || mount -t devtmpfs -o nosuid,mode=755 dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /run
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mkdir -p /run/lock /run/shm
mount -o remount,rw,noatime / || echo 'the root file system stays read-only'
read -r name </etc/hostname && echo "$name" >/proc/sys/kernel/hostname
ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
  ip link set eth0 up
  dhclient -nw eth0 >/dev/null 2>&1 &
fi
: >/run/utmp
