#!/usr/bin/env bash
# No acknowledged write is lost while processes are killed, a region is destroyed, or a region can't be reached.
. "$(dirname "$0")/lib.sh"

kills=5

# process KIND NAME@REGION FIELD: what run.json says of a process that runs now.
process() {
    run_json '[p[f] for p in d["regions"][r][k] if p["name"] == n][0]' k="$1" n="${2%@*}" r="${2#*@}" f="$3"
}

# another_runs KIND NAME@REGION PID: the process has been started again, and is ready.
another_runs() {
    local pid
    pid=$(process "$1" "$2" pid)
    [ "$pid" != "$3" ] && [ "$pid" != 0 ] && curl -fsS --max-time 2 "$(process "$1" "$2" admin)/readyz/write"
}

# leads REGION: $leader is the gateway that says of itself that it leads.
leads() {
    for leader in gateway-1 gateway-2; do
        if curl -fsS --max-time 2 "$(process gateways "$leader@$1" admin)/v1/status" | json 'd["leading"]'; then
            return 0
        fi
    done
    return 1
}

# kill_leader REGION: kill -9 of the gateway that leads there; another one must lead within 10 s.
kill_leader() {
    local name pid
    within 20 "$1 has a leader" leads "$1"
    name=$leader
    pid=$(process gateways "$name@$1" pid)
    lab kill "$name@$1"
    within 10 "another gateway of $1 leads" leads "$1"
    within 30 "$name@$1 runs again" another_runs gateways "$name@$1" "$pid"
}

kill_agent() {
    local pid
    pid=$(process agents "$1" pid)
    lab kill "$1"
    within 40 "$1 runs again" another_runs agents "$1" "$pid"
}

regions eu-west,us-east,ap-south --rtt 20ms
order=(eu-west us-east ap-south)

say "a history of writes, with $kills kill -9 of leaders and $kills of agents"
history=$work/history.ndjson
start load isthmus load --history "$history" --dir "$set" --seconds 120 --writers 16 --json
within 10 "writes are recorded" test -s "$history"
for ((round = 0; round < kills; round++)); do
    kill_leader "${order[round % 3]}"
    kill_agent "agent-$((round % 2 + 1))@${order[(round + 1) % 3]}"
done
runs load || fail "the history ended before the last kill"
ends load 240 0

say "the checker finds nothing lost"
isthmus-check "$history" --json >"$work/verdict" || fail "$(head -c 2000 "$work/verdict")"
cat "$work/verdict"
holds() {
    json "$1" <"$work/verdict" || fail "not so: $1"
}
holds 'd["acknowledged"] >= 20000'
holds 'd["unknown"] <= 0.01 * (d["acknowledged"] + d["unknown"])'
holds 'd["agents"] == 6'

say "the checker finds a write that was taken out of the history, and one that was taken from an agent"
"$python" - "$history" "$work/forged.ndjson" "$work/lost.ndjson" <<'PYTHON'
import json, sys

entries = [json.loads(line) for line in open(sys.argv[1])]
keys = {entry["write"]: entry["key"] for entry in entries if entry["type"] == "invoke"}
held = next(entry for entry in entries if entry["type"] == "read" and entry["value"] is not None)
of_held = lambda entry: entry["version"] == held["version"] and keys[entry["write"]] == held["key"]
write = next(entry["write"] for entry in entries if entry["type"] == "ok" and of_held(entry))
with open(sys.argv[2], "w") as forged, open(sys.argv[3], "w") as lost:
    for entry in entries:
        if entry.get("write") != write:
            forged.write(json.dumps(entry) + "\n")
        lost.write(json.dumps({**entry, "value": None, "version": None} if entry is held else entry) + "\n")
PYTHON
expect 2 isthmus-check "$work/forged.ndjson" >/dev/null
expect 2 isthmus-check "$work/lost.ndjson" >/dev/null

# put KEY VALUE PARAMETERS: a write in eu-west; prints the status.
put() {
    request -X PUT --data "$2" "$(door eu-west)/v1/kv/shop/$1?$3"
}

say "all: a region that is known to be cut off is refused before anything is written"
confirmed() {
    [ "$(put "probe" x "consistency=all&timeout=10s")" = 200 ]
}
within 40 "all regions confirm" confirmed
lab cut eu-west ap-south
attempt=0
refused_unsent() {
    attempt=$((attempt + 1))
    [ "$(put "all-$attempt" x "consistency=all&timeout=1s")" = 503 ] && [ "$(code)" = regions_unreachable ]
}
within 40 "503 regions_unreachable" refused_unsent
json 'd["unreachable"] == ["ap-south"] and d["retryable"]' <"$work/body" || fail "it names others: $(cat "$work/body")"
for agent in 0 1; do
    same "the refused key" "$(request "$(door eu-west "$agent")/v1/kv/shop/all-$attempt")" 404
    same "a version of it" "$(header Isthmus-Version)" ""
done
same "a write of the region" "$(put "all-$attempt" x "consistency=region")" 200
majority() {
    [ "$(put "all-$attempt" x "consistency=majority")" = 200 ]
}
within 40 "a write of the majority" majority
lab heal

say "all: a cut after the append is a 504 in time that names who has it"
within 60 "all regions confirm again" confirmed
lab delay eu-west ap-south 2s
within 60 "all regions confirm over the delay" confirmed
# The cut must come before the answer of ap-south, which takes 4 s.
late=$(door eu-west)/v1/kv/shop/late
start late curl -sS --max-time 30 -o "$work/late" -w '%{http_code} %{time_total}\n' -X PUT --data x "$late?consistency=all&timeout=10s"
within 5 "the write is in the log of eu-west" curl -fsS "$late"
lab cut eu-west ap-south
ends late 30 0
read -r status seconds <"$work/late.log"
same "the status" "$status" 504
json 'float(s) <= 12' s="$seconds" <<<'{}' || fail "it answered after $seconds s"
json 'sorted(d["regions"]) == ["eu-west", "us-east"]' <"$work/late" || fail "it names others: $(cat "$work/late")"
same "it in eu-west" "$(curl -fsS "$(door eu-west)/v1/kv/shop/late")" x
same "it in ap-south" "$(request "$(door ap-south)/v1/kv/shop/late")" 404
lab heal

say "a write of the majority outlives its region, and one that never left it does not"
within 60 "all regions confirm again" confirmed
lab cut eu-west ap-south
kept() {
    [ "$(put kept survives consistency=majority)" = 200 ]
}
within 40 "the majority confirms" kept
json 'sorted(d["regions"]) == ["eu-west", "us-east"]' <"$work/body" || fail "others confirmed: $(cat "$work/body")"
lab cut eu-west us-east
same "a write of the region alone" "$(put lost gone consistency=region)" 200
take_down all@eu-west
rm -rf "$set/eu-west/data"
survives() {
    [ "$(curl -fsS --max-time 5 "$(door "$1")/v1/kv/shop/kept")" = survives ]
}
within 20 "the value is in us-east" survives us-east
same "the write that never left" "$(request "$(door us-east)/v1/kv/shop/lost")" 404
expect_fail survives eu-west
