#!/usr/bin/env bash
# A receiver of traces that nobody here wrote (rotel) gets one trace with spans of all three regions, and `isthmus trace` tells its stages.
. "$(dirname "$0")/lib.sh"

receiver
set=$work/set
isthmus init "$set" --regions eu-west,us-east,ap-south >/dev/null
for file in "$set"/*/region-agent.yaml "$set"/*/gateway.yaml; do
    printf 'telemetry: { otlp: { endpoint: "http://127.0.0.1:%s", protocol: grpc }, ratio: 0 }\n' "$grpc" >>"$file"
done
run_regions --rtt 40ms

clocks_are_known() {
    local region agent
    for region in eu-west us-east ap-south; do
        for agent in 0 1; do
            curl -fsS "$(admin "$region" "$agent")/v1/status" |
                json 'd["clock_uncertainty_ms"] is not None and d["clock_uncertainty_ms"] < 3 and all(l["uncertainty_ms"] < 30 for s in d["shards"] for l in s["lag"])' ||
                return 1
        done
    done
}
within 30 "every agent knows its clock, and those of other regions" clocks_are_known

say "a probe, and what isthmus trace tells of it"
isthmus trace carts/probe --dir "$set" --from eu-west --json >"$work/trace.json"
json 'len(d["applied"]) == 6 and all(a["delay_ms"] + a["uncertainty_ms"] > 0 for a in d["applied"])' <"$work/trace.json" || fail "$(cat "$work/trace.json")"
# 20 ms one way, as clocks see it that are known to a few milliseconds.
json 'all(a["stages_ms"]["wire"] >= 15 for a in d["applied"] if a["region"] != "eu-west")' <"$work/trace.json" ||
    fail "the way of the bytes is missing: $(cat "$work/trace.json")"
json 'all(set(a["stages_ms"]) == {"commit", "apply"} for a in d["applied"] if a["region"] == "eu-west")' <"$work/trace.json" ||
    fail "the writing region: $(cat "$work/trace.json")"
trace=$(json 'd["trace_id"]' <"$work/trace.json")

# regions_of TRACE: the regions whose spans of the trace the receiver has.
regions_of() {
    tr -d '\033' <"$work/receiver.log" | "$python" -c '
import re, sys
text = sys.stdin.read()
found = set()
for span in re.split(r"(?=Trace ID)", text):
    if sys.argv[1] in span.split("\n")[0]:
        found |= set(re.findall(r"isthmus\.region[^\n]*?(eu-west|us-east|ap-south)", span))
print(*sorted(found))' "$1"
}
in_all_regions() {
    [ "$(regions_of "$1")" = "ap-south eu-west us-east" ]
}
within 30 "spans of all three regions in one trace at the receiver" in_all_regions "$trace"
expect_fail in_all_regions 00000000000000000000000000000001

say "a waterfall for people, and a key that holds a value is left alone"
isthmus trace carts/other --dir "$set" --from us-east >"$work/waterfall.txt"
grep -q "^ap-south/agent-1 .*w.* ms  (commit " "$work/waterfall.txt" || fail "$(cat "$work/waterfall.txt")"
same "a value" "$(request -X PUT --data kept "$(door eu-west)/v1/kv/carts/alice")" 200
expect 64 isthmus trace carts/alice --dir "$set" --from eu-west
same "it is still there" "$(curl -fsS "$(door eu-west)/v1/kv/carts/alice")" kept
