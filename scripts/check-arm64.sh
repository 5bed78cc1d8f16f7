#!/bin/bash
# Runs the arm64 executable under QEMU on an x86-64 machine: its commands, and a primary with a real mount that an x86-64
# replica follows. `npm run check:arm64`; needs root, /dev/fuse, sqlite3, debootstrap, qemu-user-static and
# binutils-aarch64-linux-gnu, and two minutes. DEBIAN_SUITE (bookworm) and DEBIAN_MIRROR say where its libraries come from.
set -euo pipefail
cd -- "$(dirname -- "$0")/.."
work=$(mktemp -d -t litefs-lite-arm64.XXXXXX)
root=$work/root

cleanup() {
  status=$?
  set +e # a grep that finds nothing is no failure
  [ $status = 0 ] || { echo "FAILED; the nodes said:" >&2; tail -n 20 "$work"/*.log >&2; }
  for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null || true; done
  grep -oE " $work[^ ]* " /proc/mounts | while read -r mount; do umount -l "$mount" || true; done
  rm -rf --one-file-system "$work"
  exit $status
}
trap cleanup EXIT

step() { echo "== $*"; }
expect() { # EXPECTED COMMAND...
  local expected=$1 got
  shift
  got=$("$@")
  [ "$got" = "$expected" ] || { echo "expected '$expected', got '$got' from: $*" >&2; exit 1; }
}
within() { # SECONDS COMMAND...
  local tries=$(($1 * 10))
  shift
  for _ in $(seq $tries); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "not in time: $*" >&2
  exit 1
}
on_arm64=(qemu-aarch64-static -L "$root" "$work/litefs-lite-arm64")
arm64() { "${on_arm64[@]}" "$@"; }
config() { # NAME CANDIDATE HTTP REPLICATION
  cat <<YAML
fuse: {dir: $work/$1/mount}
data: {dir: $work/$1/data}
http: {addr: "127.0.0.1:$3"}
replication: {addr: "127.0.0.1:$4", primary: "127.0.0.1:28204"}
lease: {type: static, candidate: $2}
snapshots: {dir: $work/$1/snapshots, schedule: "0 3 * * *", increments: 1s}
YAML
}

step "both executables"
scripts/node scripts/build.ts --arch arm64 --output "$work/litefs-lite-arm64"
scripts/node scripts/build.ts --output "$work/litefs-lite"

step "arm64's libraries, from Debian"
debootstrap --arch=arm64 --foreign --variant=minbase --include=libatomic1 \
  "${DEBIAN_SUITE:-bookworm}" "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1
for package in libatomic1 libstdc++6 libgcc-s1; do
  dpkg-deb --fsys-tarfile "$root/var/cache/apt/archives/${package}"_*.deb | tar -x -C "$root" --keep-directory-symlink
done

step "version and config check, on arm64"
arm64 version
config primary true 28202 28204 >"$work/primary.yml"
config replica false 28203 28205 >"$work/replica.yml"
arm64 config check "$work/primary.yml"

step "an arm64 primary, and an x86-64 replica"
"${on_arm64[@]}" mount --config "$work/primary.yml" >"$work/primary.log" 2>&1 &
primary=$!
within 60 test -e "$work/primary/mount/.lag"
"$work/litefs-lite" mount --config "$work/replica.yml" >"$work/replica.log" 2>&1 &
replica=$!
for mode in wal delete; do
  sqlite3 "$work/primary/mount/$mode.db" "PRAGMA journal_mode=$mode; CREATE TABLE t(x); INSERT INTO t VALUES('one'); DELETE FROM t; INSERT INTO t VALUES('two')" >/dev/null
  within 30 cmp "$work/primary/mount/$mode.db-pos" "$work/replica/mount/$mode.db-pos"
  expect two sqlite3 "$work/replica/mount/$mode.db" 'SELECT x FROM t'
done
"$work/litefs-lite" verify --config "$work/replica.yml"

step "a snapshot, and a restore of it on arm64"
arm64 snapshot --config "$work/primary.yml"
arm64 restore wal.db --dir "$work/primary/snapshots" --output "$work/restored.db"
expect two sqlite3 "$work/restored.db" 'SELECT x FROM t'

step "both stop cleanly"
kill -TERM $primary $replica
wait $primary
wait $replica
expect '' sh -c "grep -o ' $work/[^ ]*mount ' /proc/mounts || true"
echo "all is well"
