#!/usr/bin/env bash
# A region's log stays its own however the NATS servers are joined, outlives a cut as far as it reaches, and says so when it
# doesn't reach or when its tail was lost.
. "$(dirname "$0")/lib.sh"

# settle: ends what runs, for the next story.
settle() {
    stop up
    [ -z "${pids[ports]:-}" ] || stop ports
    rm -rf "$set"
}

# nats_settings REGION TEXT: appends to the region's NATS configuration.
nats_settings() {
    printf '%s\n' "$2" >>"$set/$1/nats.conf"
}

# free_ports COUNT: so many in $ports, which nothing else takes until settle.
free_ports() {
    start ports "$python" "$root/tests/assumptions/ports.py" "$1"
    within 10 "free ports" test -s "$work/ports.log"
    read -r -a ports <"$work/ports.log"
}

# joined REGION OTHER: what a client of the one says is heard by a client of the other.
joined() {
    "$python" - "$(nats_url "$1")" "$(nats_url "$2")" <<'PYTHON'
import asyncio, sys
import nats

async def main():
    here, there = [await nats.connect(url) for url in sys.argv[1:]]
    heard = await there.subscribe("acceptance")
    await there.flush()
    try:
        for _ in range(20):
            await here.publish("acceptance", b"")
            try:
                return await heard.next_msg(timeout=0.2)
            except nats.errors.TimeoutError:
                continue
    finally:
        await here.close()
        await there.close()

sys.exit(0 if asyncio.run(main()) else 1)
PYTHON
}

# logs REGION...: prints, for each region, what its NATS server itself stores: {region: {stream: [[subject, header]]}}.
# shellcheck disable=SC2016  # $JS.API begins a subject
logs() {
    local region
    for region in "$@"; do
        printf '%s %s %s ' "$region" "$(nats_url "$region")" "$(run_json 'd["regions"][r]["nats"]["monitor"]' r="$region")"
    done | xargs "$python" -c '
import asyncio, base64, json, sys, urllib.request
import nats

def stored(monitor):
    found = json.load(urllib.request.urlopen(monitor + "/jsz?streams=true", timeout=5))
    return [s["name"] for a in found["account_details"] for s in a.get("stream_detail", []) if not s["name"].startswith("KV_")]

async def messages(client, stream):
    async def ask(request, body):
        return json.loads((await client.request(f"$JS.API.{request}.{stream}", json.dumps(body).encode(), timeout=5)).data)
    state = (await ask("STREAM.INFO", {}))["state"]
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        message = (await ask("STREAM.MSG.GET", {"seq": sequence})).get("message")
        if not message:
            continue
        header = [line for line in base64.b64decode(message.get("hdrs", "")).decode().split("\r\n") if line.startswith("Isthmus-Header:")]
        yield [message["subject"], *(header or [message["subject"]])]

async def main(places):
    found = {}
    for region, url, monitor in zip(*[iter(places)] * 3):
        client = await nats.connect(url)
        found[region] = {stream: [message async for message in messages(client, stream)] for stream in stored(monitor)}
        await client.close()
    print(json.dumps(found))

asyncio.run(main(sys.argv[1:]))'
}

# logs_begin REGION: the first sequence of each of its logs: {partition: sequence}.
logs_begin() {
    curl -fsS "$(run_json 'd["regions"][r]["nats"]["monitor"]' r="$1")/jsz?streams=true" |
        json '{s["name"].split("_")[-1]: s["state"]["first_seq"] for a in d["account_details"] for s in a["stream_detail"]
            if s["name"].split("_")[-1].isdigit()}'
}

# nothing_foreign REGION...: each server stores the logs and the two journals of its own region alone, each messages of its own,
# and no message is stored twice.
nothing_foreign() {
    logs "$@" >"$work/logs"
    json 'all(set(held) == {"ISTHMUS_dev_" + r + s for s in ["_EVENTS", "_ASIDE_default", *["_default_%d" % p for p in range(4)]]}
        for r, held in d.items())' \
        <"$work/logs" || fail "a server stores another region's log: $(json '{r: list(h) for r, h in d.items()}' <"$work/logs")"
    json 'all(m[0].startswith(tuple("isthmus.dev.%s.%s." % (r, kind) for kind in ["log.default", "aside.default", "events"]))
        for r, held in d.items() for log in held.values() for m in log)' \
        <"$work/logs" || fail "a log has a subject of another region"
    json '(lambda headers: len(headers) == len(set(headers)) > 0)([m[1] for held in d.values() for log in held.values() for m in log])' \
        <"$work/logs" || fail "a message is stored twice"
}

# plant FROM TO: what bare names would do: a message of the one region's log is stored in the other's too.
plant() {
    "$python" - "$(nats_url "$1")" "$1" "$2" <<'PYTHON'
import asyncio, base64, json, sys
import nats

async def main(url, here, there):
    client = await nats.connect(url)
    asked = json.dumps({"last_by_subj": f"isthmus.dev.{here}.log.default.0._agent"}).encode()
    told = json.loads((await client.request(f"$JS.API.STREAM.MSG.GET.ISTHMUS_dev_{here}_default_0", asked, timeout=5)).data)
    lines = base64.b64decode(told["message"]["hdrs"]).decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines if line)
    body = base64.b64decode(told["message"].get("data", ""))
    await client.request(f"isthmus.dev.{there}.log.default.0._agent", body, headers=headers, timeout=5)
    await client.close()

asyncio.run(main(*sys.argv[1:]))
PYTHON
}

# one_leader REGION: its gateways name the same one, which is the only one that leads.
one_leader() {
    local said=() gateway
    for gateway in 0 1; do
        said+=("$(curl -fsS "$(gateway_admin "$1" "$gateway")/v1/status" | json '"%s %s" % (d["leader"], d["name"] if d["leading"] else "-")')")
    done
    json 'd[0][0] == d[1][0] and sorted(x[1] for x in d) == sorted(["-", d[0][0]])' \
        <<<"[[\"${said[0]% *}\", \"${said[0]#* }\"], [\"${said[1]% *}\", \"${said[1]#* }\"]]"
}

arrived() {
    curl -fsS "$(door "$1")/v1/kv/shop/$2"
}

# written REGION KEY VALUE: whether it acknowledges the write.
written() {
    [ "$(request -X PUT --data "$3" "$(door "$1")/v1/kv/shop/$2?timeout=2s")" = 200 ]
}

# travels REGION...: a write in each region arrives in each other one.
travels() {
    local here there
    for here in "$@"; do
        within 30 "a write in $here" written "$here" "from-$here" "$here"
    done
    for here in "$@"; do
        for there in "$@"; do
            within 20 "the write of $here is in $there" arrived "$there" "from-$here"
        done
    done
}

# stays_apart REGION...: a set whose NATS servers are joined works, and its logs have nothing to do with each other.
stays_apart() {
    local region
    for region in "${@:2}"; do
        within 30 "$1 and $region are joined, without which this proves nothing" joined "$1" "$region"
    done
    travels "$@"
    for region in "$@"; do
        within 10 "$region has one leader" one_leader "$region"
    done
    nothing_foreign "$@"
    plant "$1" "$2"
    expect_fail nothing_foreign "$@"
}

say "two regions whose NATS servers are joined by a leafnode"
set=$work/leafnode
isthmus init "$set" --regions east,west >/dev/null
free_ports 1
nats_settings east "leafnodes { listen: \"127.0.0.1:${ports[0]}\" }"
nats_settings west "leafnodes { remotes: [ { url: \"nats://127.0.0.1:${ports[0]}\" } ] }"
run_regions
stays_apart east west
settle

say "three regions in a supercluster"
set=$work/supercluster
names=(east west south)
isthmus init "$set" --regions east,west,south >/dev/null
free_ports 6
gateways=""
for index in 0 1 2; do
    gateways="$gateways${gateways:+, }{ name: ${names[index]}, url: \"nats://127.0.0.1:${ports[index]}\" }"
done
for index in 0 1 2; do
    route=127.0.0.1:${ports[index + 3]}
    nats_settings "${names[index]}" "cluster { name: ${names[index]}, listen: \"$route\", routes: [ \"nats://$route\" ] }
gateway { name: ${names[index]}, listen: \"127.0.0.1:${ports[index]}\", gateways: [ $gateways ] }
accounts { \$SYS { users: [ { user: system, password: system } ] } }"
done
run_regions
stays_apart "${names[@]}"
settle

# two_regions LOG_SETTINGS: two regions whose logs have these settings.
two_regions() {
    set=$work/two
    isthmus init "$set" --regions east,west >/dev/null
    sed -i "s/^log: .*/log: { create: true, $1 }/" "$set"/*/region-agent.yaml "$set"/*/gateway.yaml
    run_regions
    travels east west
}

# rows FIRST COUNT: that many rows of 50 KB.
rows() {
    "$python" -c '
import base64, json, random, sys
first, count = map(int, sys.argv[1:])
for n in range(first, first + count):
    text = base64.b64encode(random.Random(n).randbytes(37_500)).decode()
    print(json.dumps({"id": f"{n}", "text": text}))' "$1" "$2"
}

# links CONDITION: whether it holds for the link from east to west.
links() {
    local gateway
    for gateway in 0 1; do
        if curl -fsS "$(gateway_admin east "$gateway")/v1/status" | json "any($1 for link in d['links'] if link['peer'] == 'west')"; then
            return 0
        fi
    done
    return 1
}

needs_sync() {
    links 'any(lane["state"] == "needs_sync" for lane in link["lanes"])'
}

is_down() {
    ! links 'link["state"] == "connected"'
}

named_in_status() {
    isthmus status --dir "$set" | grep 'east *west' | grep -q 'needs.sync'
}

# received: bytes of ranges that the gateways of west have received from east.
received() {
    local gateway
    for gateway in 0 1; do
        curl -fsS "$(gateway_admin west "$gateway")/metrics" | sed -n 's/^isthmus_range_bytes_received_total{origin="east"} //p'
    done | awk '{ sum += $1 } END { print sum + 0 }'
}

# write_20_mb_in_a_cut FIRST: FIRST rows that arrive, then 400 rows in east, of which nothing passes.
write_20_mb_in_a_cut() {
    rows 0 "$1" >"$work/before.ndjson"
    rows "$1" 400 >"$work/rows.ndjson"
    isthmus load "$work/before.ndjson" --dir "$set" --region east >/dev/null
    isthmus compare "$work/before.ndjson" --dir "$set" --region west --wait 30s >/dev/null
    lab cut east west
    within 15 "the link is down" is_down
    before=$(received)
    isthmus load "$work/rows.ndjson" --dir "$set" --region east
    expect 2 isthmus compare "$work/rows.ndjson" --dir "$set" --region west --wait 0s >/dev/null
}

# trimmed_past_west: every log of east begins after what west has of it.
trimmed_past_west() {
    local held
    held=$(curl -fsS "$(gateway_admin west)/v1/status" |
        json '{str(l["partition"]): l["cursor"]["sequence"] for l in d["receiving"] if l["origin"] == "east" and l["cursor"]}')
    json 'len(d[0]) == len(d[1]) == 4 and all(d[0][shard] > cursor + 1 for shard, cursor in d[1].items())' \
        <<<"[$(logs_begin east), $held]"
}

say "20 MB written during a cut, in logs of 8 MiB: the peer is named, and takes from the other store what the log no longer has"
two_regions "max_bytes: 8MiB, retention: 1MiB"
write_20_mb_in_a_cut 20
within 120 "every log is trimmed past what west has" trimmed_past_west
within 20 "an agent of east says so" grep -q "trimmed past what west has: west needs a sync" "$set"/east/agent-1.log "$set"/east/agent-2.log
lab heal
isthmus compare "$work/rows.ndjson" --dir "$set" --region west --wait 120s
grep -q "taking what is missing from region east" "$set"/west/agent-1.log "$set"/west/agent-2.log || fail "west took nothing from east's store"
within 20 "a log of east's gateways says why" grep -q "region west needs a sync" "$set"/east/gateway-1.log "$set"/east/gateway-2.log
healed() {
    ! needs_sync && ! named_in_status
}
within 30 "no lane needs a sync" healed
isthmus compare "$work/rows.ndjson" --dir "$set" --region east
settle

say "20 MB written during a cut, in logs of 64 MiB: the link goes on exactly where it was"
two_regions "max_bytes: 64MiB, retention: 48MiB"
write_20_mb_in_a_cut 80
lab heal
isthmus compare "$work/rows.ndjson" --dir "$set" --region west --wait 60s
bytes=$(($(received) - before))
# A lane that is behind compresses; of this text a quarter goes.
[ "$bytes" -ge 14500000 ] && [ "$bytes" -lt 22000000 ] || fail "west received $bytes bytes, not 20 MB once"
expect_fail needs_sync
expect_fail named_in_status

# life_of REGION AGENT: the number of the life that the agent knows its log to be in.
life_of() {
    curl -fsS "$(admin "$1" "$2")/v1/status" | json 'd["shards"][0]["life"]["number"]'
}

new_life() {
    [ "$(life_of "$1" "$2")" -gt "$life" ]
}

# peer_knows: west has east's log of a life above $life.
peer_knows() {
    local gateway
    for gateway in 0 1; do
        if curl -fsS "$(gateway_admin west "$gateway")/v1/status" |
            json 'any(int(lane["cursor"]["life"].split(":")[0]) > int(n) for lane in d["receiving"] if lane["origin"] == "east" and lane["cursor"])' n="$life"; then
            return 0
        fi
    done
    return 1
}

# write_tail SECONDS: east writes what its copied log has not, and west has it; SECONDS are for east to come back before.
write_tail() {
    local n
    within "$1" "east takes writes again" written east again x
    for n in $(seq 20); do
        within 10 "write $n" written east "tail-$n" "$n"
    done
    within 20 "the tail is in west" arrived west tail-20
}

# await_new_life: east has lost that tail, and its agents are in the life that follows.
await_new_life() {
    local agent
    for agent in 0 1; do
        within 60 "agent $agent of east is in a new life" new_life east "$agent"
    done
}

say "a log whose tail was lost is a new life, for agents and for peers"
life=$(life_of east 0)
take_down nats@east
cp -r "$set/east/data/nats" "$work/backup"
lab start nats@east >/dev/null
write_tail 40
expect_fail new_life east 0
expect_fail peer_knows
take_down nats@east
rm -rf "$set/east/data/nats"
cp -r "$work/backup" "$set/east/data/nats"
lab start nats@east >/dev/null
await_new_life
within 60 "west knows the new life" peer_knows
# keeps AGENT N: that agent of east has what was acknowledged before.
keeps() {
    [ "$(curl -fsS "$(door east "$1")/v1/kv/shop/tail-$2")" = "$2" ]
}
for n in $(seq 20); do
    for agent in 0 1; do within 20 "write $n of before is on agent $agent of east" keeps "$agent" "$n"; done
done
within 40 "east takes writes in its new life" written east new-life x
within 30 "it arrives in west" arrived west new-life
settle

# tail_is_suspected: a gateway of east has told that west has what east's log has not.
tail_is_suspected() {
    grep -q "$1" "$set"/east/gateway-*.log
}

say "a region restored from a backup, agents and all: only the peer has the tail, and the link goes on"
two_regions "max_bytes: 64MiB, retention: 48MiB"
life=$(life_of east 0)
take_down agents@east
take_down nats@east
cp -r "$set/east/data" "$work/restored"
lab start nats@east >/dev/null
lab start agents@east >/dev/null
write_tail 60
expect_fail tail_is_suspected "lost its tail"
take_down agents@east
take_down nats@east
rm -rf "$set/east/data"
cp -r "$work/restored" "$set/east/data"
lab start nats@east >/dev/null
lab start agents@east >/dev/null
await_new_life
within 20 "a gateway of east says that the log lost its tail" tail_is_suspected "lost its tail"
within 20 "an agent of east says that west holds what is lost" grep -q "comes back with a sync" "$set"/east/agent-1.log "$set"/east/agent-2.log
within 60 "west knows the new life" peer_knows
within 40 "east takes writes in its new life" written east after-restore x
within 30 "it arrives in west" arrived west after-restore
