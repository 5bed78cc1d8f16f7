#!/bin/bash
# Starts a box: systemd as PID 1 of its own namespaces, in a tree of files of its own. `start-box.sh NAME TREE`; prints what
# the box's console shows, and lasts as long as the box. Needs root, and cgroup v1 for systemd with cgroup v2 beside it ("hybrid").
set -euo pipefail
name=$1 tree=$2 here=$(readlink -f -- "$0")

if [ "${3:-}" != inside ]; then
  # systemd takes the control groups that it is started in for the root of its own.
  for kind in systemd unified; do
    group=/sys/fs/cgroup/$kind/$name
    [ -d "/sys/fs/cgroup/$kind" ] || continue
    mkdir -p "$group"
    echo $$ >"$group/cgroup.procs"
  done
  exec unshare --uts --net --mount --ipc --pid --cgroup --fork --kill-child --propagation private \
    bash "$here" "$name" "$tree" inside
fi

hostname "$name"
mount --bind "$tree" "$tree"
cd "$tree"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
for device in null zero full random urandom tty; do
  touch dev/$device
  mount --bind /dev/$device dev/$device
done
mknod -m 666 dev/fuse c 10 229
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=nspawn \
  chroot . /lib/systemd/systemd --log-target=console --show-status=no </dev/null
