#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test_cluster.sh CLUSTER LINK_RATE: hosts can be made, their links have the rate asked for, and nothing is left.
set -u
cluster=$1 link_rate=$2

skip() {
  echo "SKIPPED: $1"
  exit 77
}
fail() {
  echo "FAILED: $1"
  exit 1
}

[ "$(id -u)" = 0 ] || skip "network namespaces need root"
command -v ip >/dev/null && command -v tc >/dev/null || skip "no iproute2 here"
ip netns add mbprobe 2>/dev/null || skip "this machine makes no network namespaces"
ip netns del mbprobe
ip link add mbprobe type bridge 2>/dev/null || skip "this machine makes no bridges"
ip link del mbprobe
"$cluster" info | grep -q "no hosts" || skip "somebody's cluster is up, and this test would take it down"

trap '"$cluster" down' EXIT

# expect_rate RANKS MB LOW HIGH: in MB/s, never above the link, and from 3/4 of it in one of three attempts: others may
# hold the cores, which makes a rate lower but never higher.
expect_rate() {
  local line rate
  for _ in 1 2 3; do
    line=$("$cluster" run "$1" -- "$link_rate" "$2") || fail "the ranks ended with $?"
    echo "$line; expected $3 to $4"
    grep -q "$1 ranks, 1 on this host" <<<"$line" || fail "ranks take one host for another"
    rate=$(grep -oE '[0-9.]+ MB/s' <<<"$line" | cut -d' ' -f1)
    awk -v r="$rate" -v h="$4" 'BEGIN { exit !(r <= h) }' || fail "the rate is more than the link's"
    awk -v r="$rate" -v l="$3" 'BEGIN { exit !(r >= l) }' && return
  done
  fail "the rate is not the link's"
}

"$cluster" up 3 --rate 200mbit || fail "up"
expect_rate 2 10 18 25
expect_rate 3 10 18 25
"$cluster" run 4 -- true && fail "ran on more hosts than are up"
"$cluster" up 2 --rate 50mbit || fail "up again"
[ "$("$cluster" info | wc -l)" = 2 ] || fail "up does not replace the hosts that were there"
expect_rate 2 3 4.5 6.25
"$cluster" run 2 -- sh -c 'exit 7'
[ $? = 7 ] || fail "the exit code of the ranks is lost"
# A link that is cut does not keep mpirun from ending the ranks: it has a network of its own.
host=$(ip netns list | grep -oE 'moebench-h2' | head -1)
began=$SECONDS
"$cluster" run 2 -- sh -c 'sleep 3; exit 7' &
sleep 1.5
ip netns exec "$host" ip link set eth0 down
wait $!
[ $? = 7 ] && [ $((SECONDS - began)) -lt 30 ] || fail "mpirun depends on the link of the ranks"
"$cluster" up 2 --rate fast && fail "took 'fast' for a rate"
"$cluster" info | grep -q "no hosts" || fail "a set-up that failed left hosts"
"$cluster" up 0 && fail "took 0 for a number of hosts"
"$cluster" up 1 || fail "up once more"
"$cluster" down && "$cluster" down || fail "down twice"
ip link show | grep moebench && fail "left a link"
ip netns list | grep moebench && fail "left a namespace"
exit 0
