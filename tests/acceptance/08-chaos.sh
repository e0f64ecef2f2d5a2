#!/usr/bin/env bash
# Three regions under random faults of every kind lose no acknowledged write, show no session the past, and end equal.
. "$(dirname "$0")/lib.sh"

seed=4

# processes_of FOLDER: the ids of what runs in it.
processes_of() {
    json '" ".join(str(p["pid"]) for r in d["regions"].values() for p in [r["nats"]] + r["agents"] + r["gateways"])' <"$1/run.json"
}

# all_gone PID...: none of these processes is there.
all_gone() {
    local pid
    for pid in "$@"; do
        ended "$pid" || return 1
    done
}

say "75 seconds of faults drawn from seed $seed"
start chaos isthmus chaos --seconds 75 --seed "$seed" --dir "$work/chaos" --json
ends chaos 270 0
tail -n 1 "$work/chaos.log" >"$work/summary"
cat "$work/summary"
holds() {
    json "$1" <"$work/summary" || fail "not so: $1"
}
holds 'd["seed"] == 4 and d["violations"] == 0 and d["failed_faults"] == 0'
holds 'len(d["faults"]) == 12 and all(times >= 1 for times in d["faults"].values())'
holds 'd["acknowledged"] >= 1000 and d["session_reads"] >= 100 and d["agents"] == 6'
grep -q 'kill-leader .* killed gateway-' "$work/chaos.log" || fail "no kill of a leader is told"

say "the same history with a planted loss, a stale read and a deleted key that came back fails"
history=$work/chaos/history.ndjson
isthmus-check "$history"
"$python" - "$history" "$work" <<'PYTHON'
import json, sys

entries = [json.loads(line) for line in open(sys.argv[1])]
written = {e["write"]: e for e in entries if e["type"] == "invoke"}
acknowledged = [(e["version"], written[e["write"]]) for e in entries if e["type"] == "ok"]

def planted(name, *forged):
    with open(f"{sys.argv[2]}/{name}.ndjson", "w") as file:
        for entry in [*entries, *forged]:
            file.write(json.dumps(entry) + "\n")

def older_put(key, than):
    return next(((v, w) for v, w in acknowledged if w["key"] == key and w["value"] is not None and v < than), None)

held = next(e for e in entries if e["type"] == "read" and e["value"] is not None)
planted("lost", {**held, "version": None, "value": None})

deleted = [e for e in entries if e["type"] == "read" and e["version"] is not None and e["value"] is None]
back, older = next((e, found) for e in deleted if (found := older_put(e["key"], e["version"])))
planted("came_back", {**back, "version": older[0], "value": older[1]["value"]})

reads = [e for e in entries if e["type"] == "session_read"]
stale, older = next((e, found) for e in reads if (found := older_put(e["key"], e["seen"])))
planted("stale", {**stale, "version": older[0], "value": older[1]["value"]})
PYTHON
for wrong in lost came_back stale; do
    expect 2 isthmus-check "$work/$wrong.ndjson" >"$work/verdict"
    grep -q "\"wrong\":\"$wrong\"" "$work/verdict" || fail "it is not called $wrong: $(cat "$work/verdict")"
done

say "too little time for every kind of fault is said before anything starts"
expect 64 isthmus chaos --seconds 20 --dir "$work/short"
[ ! -e "$work/short" ] || fail "it left a folder"

say "a run that is interrupted leaves no process and no folder"
export TMPDIR=$work/temporary
mkdir "$TMPDIR"
start interrupted isthmus chaos --seconds 60 --only cut,kill-agent
up() {
    cat "$TMPDIR"/*/run.json | json 'd["ready"]'
}
within 90 "it is up" up
read -r -a processes < <(processes_of "$TMPDIR"/*)
expect_fail all_gone "${processes[@]}"
kill -INT "${pids[interrupted]}"
ends interrupted 40 1
within 5 "every process is gone" all_gone "${processes[@]}"
same "what is left" "$(ls "$TMPDIR")" ""
