#!/bin/bash
# Installs, upgrades, removes, purges and reinstalls the package in a fresh Debian, with a node running: after each step
# the databases must be there. `npm run check:package`; needs root, /dev/fuse, debootstrap and dpkg-dev, and a few
# minutes. DEBIAN_SUITE (bookworm) and DEBIAN_MIRROR say which Debian; CHROOT_TARBALL keeps the fresh one for the next run.
set -euo pipefail
cd -- "$(dirname -- "$0")/.."
deb=$(ls -t dist/litefs-lite_*_"$(dpkg --print-architecture)".deb 2>/dev/null | head -1 || true)
[ -n "$deb" ] || { echo "no package in dist/: npm run deb makes it" >&2; exit 1; }
work=$(mktemp -d -t litefs-lite-package.XXXXXX)
root=$work/root
log=$work/log

cleanup() {
  status=$?
  set +e # a grep that finds nothing is no failure
  [ $status = 0 ] || { echo "FAILED; the last lines of $work/log were:" >&2; tail -30 "$log" >&2; }
  pkill -KILL -f "^$root" 2>/dev/null || true
  for pid in $(chrooted_pids); do kill -KILL "$pid" 2>/dev/null || true; done
  grep -oE " $root[^ ]* " /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" || true; done
  chattr -i "$root/litefs" 2>/dev/null || true
  rm -rf --one-file-system "$work"
  exit $status
}
chrooted_pids() {
  for link in /proc/[0-9]*/root; do
    if [ "$(readlink "$link" 2>/dev/null)" = "$root" ]; then echo "$link" | cut -d/ -f3; fi
  done
}
trap cleanup EXIT

step() { echo "== $*"; }
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive HOME=/root "$@"; }
expect() { # EXPECTED COMMAND...
  local expected=$1 got
  shift
  got=$("$@")
  [ "$got" = "$expected" ] || { echo "expected '$expected', got '$got' from: $*" >&2; exit 1; }
}
writes_below() { if in_root touch /litefs/below 2>/dev/null; then echo yes; else echo no; fi; }
rows() { in_root sqlite3 "$1" 'SELECT count(*) FROM t'; }

start_node() {
  chroot "$root" /usr/bin/litefs-lite mount --config /etc/litefs-lite.yml >>"$log" 2>&1 &
  node=$!
  for _ in $(seq 100); do
    [ -e "$root/litefs/.lag" ] && in_root litefs-lite status >>"$log" 2>&1 && return
    kill -0 $node || { echo "the node ended" >&2; exit 1; }
    sleep 0.1
  done
  echo "the node is not up" >&2
  exit 1
}
stop_node() { kill -TERM "$node"; wait "$node"; }

step "a fresh Debian"
mkdir "$root"
if [ -n "${CHROOT_TARBALL:-}" ] && [ -f "$CHROOT_TARBALL" ]; then
  tar -C "$root" -xf "$CHROOT_TARBALL"
else
  debootstrap --variant=minbase "${DEBIAN_SUITE:-bookworm}" "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >>"$log" 2>&1
  if [ -n "${CHROOT_TARBALL:-}" ]; then tar -C "$root" -cf "$CHROOT_TARBALL" .; fi
fi
mount -t proc proc "$root/proc"
touch "$root/dev/fuse"
mount --bind /dev/fuse "$root/dev/fuse"
cp /etc/resolv.conf "$root/etc/resolv.conf"

step "apt install litefs-lite, from a repository in a folder"
mkdir "$root/repository"
cp "$deb" "$root/repository"
packaging/apt-repo.sh "$root/repository"
echo 'deb [trusted=yes] file:///repository ./' >"$root/etc/apt/sources.list.d/litefs-lite.list"
in_root apt-get update >>"$log" 2>&1
in_root apt-get install -y --no-install-recommends litefs-lite sqlite3 >>"$log" 2>&1
in_root litefs-lite version
in_root litefs-lite config check
[ -f "$root/usr/share/man/man1/litefs-lite.1.gz" ] || echo "(no man pages: this Debian is configured without)"

step "nobody writes below the mount before the node has ever run"
expect no writes_below

step "a node runs with the config as it was installed"
start_node
expect "660 root litefs-lite" in_root stat -c '%a %U %G' /run/litefs-lite/20202.sock
in_root sqlite3 /litefs/app.db 'PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)' >/dev/null
expect 1 rows /litefs/app.db

step "upgrade under the running node"
dpkg-deb -R "$deb" "$work/newer"
sed -i 's/^Version: .*/&+1/' "$work/newer/DEBIAN/control"
dpkg-deb -Zgzip -z1 -b "$work/newer" "$root/repository/newer.deb" >>"$log"
packaging/apt-repo.sh "$root/repository" >/dev/null
in_root apt-get update >>"$log" 2>&1
in_root apt-get install -y litefs-lite >>"$log" 2>&1
in_root dpkg-query -W litefs-lite | grep -q '+1$'
in_root sqlite3 /litefs/app.db 'INSERT INTO t VALUES(2)'
expect 2 rows /litefs/app.db
in_root litefs-lite verify
stop_node
start_node
expect 2 rows /litefs/app.db
stop_node
expect no writes_below

step "remove: databases and config stay"
in_root apt-get remove -y litefs-lite >>"$log" 2>&1
[ -f "$root/etc/litefs-lite.yml" ]
[ ! -e "$root/usr/bin/litefs-lite" ]
expect no writes_below
expect 2 rows /var/lib/litefs/tree/app.db

step "install again, with a config that was changed"
echo '# changed' >>"$root/etc/litefs-lite.yml"
in_root apt-get install -y --no-install-recommends litefs-lite >>"$log" 2>&1
grep -q '# changed' "$root/etc/litefs-lite.yml"
start_node
expect 2 rows /litefs/app.db
stop_node

step "purge: only the databases stay, and it is said where"
in_root apt-get purge -y litefs-lite 2>&1 | tee -a "$log" | grep '^litefs-lite: '
[ ! -e "$root/etc/litefs-lite.yml" ]
[ ! -e "$root/litefs" ]
[ ! -e "$root/var/lib/litefs-lite" ]
expect 2 rows /var/lib/litefs/tree/app.db
left=$(find "$root/usr" "$root/etc" -name '*litefs*' ! -path '*/sources.list.d/*')
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }

step "install again: the node has its databases"
in_root apt-get install -y --no-install-recommends litefs-lite >>"$log" 2>&1
start_node
expect 2 rows /litefs/app.db
in_root litefs-lite verify
stop_node
echo "all is well"
