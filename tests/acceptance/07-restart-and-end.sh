#!/usr/bin/env bash
# An agent that is killed comes back with its data, also with what the log holds no more; a demo that is killed leaves nothing.
. "$(dirname "$0")/lib.sh"

set=$work/set
isthmus init "$set" --regions east,west >/dev/null
sed -i 's/^log: .*/log: { create: true, max_bytes: 8MiB, retention: 2MiB }/' "$set"/*/region-agent.yaml "$set"/*/gateway.yaml
run_regions

say "writes that the log will not keep, 20 MB after the first one"
same "the first write" "$(request -X PUT --data first "$(door east)/v1/kv/shop/first")" 200
"$python" -c '
import json
for n in range(400):
    print(json.dumps({"id": f"{n}", "text": f"{n:05}" * 10_000}))' >"$work/rows.ndjson"
isthmus load "$work/rows.ndjson" --dir "$set" --region east

say "meanwhile: a demo that is killed leaves no process after 5 seconds"
running=$set
set=$work/demo
start demo isthmus demo --seconds 60 --json --dir "$set"
within 90 "the demo is up" is_ready
read -r -a processes < <(run_json '" ".join(str(p["pid"]) for r in d["regions"].values() for p in [r["nats"]] + r["agents"] + r["gateways"])')
same "the number of processes" "${#processes[@]}" 15
all_gone() {
    local pid
    for pid in "${processes[@]}"; do
        ended "$pid" || return 1
    done
}
expect_fail all_gone
kill -KILL "${pids[demo]}"
within 5 "every process is gone" all_gone
set=$running

say "the log has trimmed the first writes: an agent keeps its last 64 marks, one a second"
trimmed() {
    "$python" - "$(nats_url east)" <<'PYTHON'
import asyncio, json, sys
import nats

async def main():
    client = await nats.connect(sys.argv[1])
    names = json.loads((await client.request("$JS.API.STREAM.NAMES", b"", timeout=5)).data)["streams"]
    logs = [name for name in names if "_east_default_" in name]
    states = [json.loads((await client.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=5)).data)["state"] for name in logs]
    await client.close()
    return len(states) == 4 and all(state["first_seq"] > 20 and state["bytes"] < 3 << 20 for state in states)

sys.exit(0 if asyncio.run(main()) else 1)
PYTHON
}
within 120 "every log of east is trimmed" trimmed

say "both agents are killed, and serve everything when they are back"
pids_of_agents() {
    run_json '[a["pid"] for a in d["regions"]["east"]["agents"]]'
}
before=$(pids_of_agents)
lab kill agents@east
readable() {
    [ "$(curl -fsS "$(door east "$1")/v1/kv/shop/first")" = first ]
}
for agent in 0 1; do
    within 20 "the first write is on agent $agent again" readable "$agent"
done
[ "$(pids_of_agents)" != "$before" ] || fail "the agents have not been killed"
isthmus compare "$work/rows.ndjson" --dir "$set" --region east --wait 20s

say "an agent without its checkpoint says that it needs a sync, and serves nothing"
take_down agent-1@east
rm -rf "$set/east/data/agent-1"
lab start agent-1@east
needs_sync() {
    request "$(admin east)/readyz/read"
    grep -q 'needs sync' "$work/body"
}
within 20 "agent-1 needs a sync" needs_sync
expect_fail readable 0
readable 1
