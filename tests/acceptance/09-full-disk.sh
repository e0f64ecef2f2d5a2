#!/usr/bin/env bash
# On a full disk a region refuses writes and goes on reading; with room again and its NATS restarted it has lost nothing.
. "$(dirname "$0")/lib.sh"

set=$work/set
isthmus init "$set" --regions east,west >/dev/null
disk=$set/east/data
mkdir -p "$disk"
if ! mount -t tmpfs -o size=48m tmpfs "$disk" 2>/dev/null; then
    say "only root can mount the small file system that this needs: nothing is shown"
    exit 0
fi
unmount() {
    umount --lazy "$disk"
}
trap 'unmount; clean_up' EXIT
dd if=/dev/zero of="$disk/ballast" bs=1M count=24 status=none
run_regions

say "values of 200 KB in east until its disk is full"
head -c 200000 /dev/zero | tr '\0' x >"$work/value"
written=0
status=200
refused() {
    status=$(request -X PUT --data-binary @"$work/value" "$(door east)/v1/kv/shop/large-$written?timeout=2s")
    [ "$status" = 200 ] && written=$((written + 1))
    [ "$status" = 503 ] && [ "$(code)" = log_not_writable ]
}
deadline=$((SECONDS + 90))
until refused; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the disk never became full: the last answer was $status after $written values"
done
[ "$written" -ge 10 ] || fail "only $written values were taken"

say "new writes are refused unsent, reads go on, gateways keep their leader, west goes on"
same "a read" "$(request "$(door east)/v1/kv/shop/large-0")" 200
curl -fsS "$(gateway_admin east)/v1/status" | json 'd["leader"] is not None' || fail "east has lost its leader"
same "a write in west" "$(request -X PUT --data x "$(door west)/v1/kv/shop/of-west")" 200
not_ready() {
    ! curl -fsS "$(admin east)/readyz/write"
}
within 20 "an agent of east says that it takes no writes" not_ready
within 20 "an agent of east says why" grep -q log_not_writable "$set"/east/agent-1.log "$set"/east/agent-2.log
takes_writes() {
    [ "$(request -X PUT --data x "$(door east)/v1/kv/shop/room?timeout=2s")" = 200 ]
}
expect_fail wait_until 3 takes_writes

say "with room on the disk and its NATS restarted east takes writes, and nothing acknowledged is lost"
rm "$disk/ballast"
lab restart nats@east
within 60 "east takes writes again" takes_writes
arrived() {
    curl -fsS "$(door "$1")/v1/kv/shop/$2"
}
for ((n = 0; n < written; n++)); do
    for region in east west; do
        within 30 "value $n is in $region" arrived "$region" "large-$n"
    done
done
within 30 "the write of west is in east" arrived east of-west
