#!/usr/bin/env bash
# One command shows three regions of real processes at work, and does not call them equal when they are not.
. "$(dirname "$0")/lib.sh"

# demo NAME SECONDS: starts a demo in $work/NAME; its summary goes to $work/NAME.json.
demo() {
    # shellcheck disable=SC2016  # expanded by the inner shell
    start "$1" bash -c 'exec isthmus demo --seconds "$1" --json --dir "$2" >"$3"' - "$2" "$work/$1" "$work/$1.json"
    set=$work/$1
    within 90 "the demo is up" is_ready
}

# processes_of KIND COMMAND COUNT: that many processes of the kind run now, and ps calls them so.
processes_of() {
    local pid count=0
    for pid in $(run_json '" ".join(str(p["pid"]) for r in d["regions"].values() for p in ([r[k]] if k == "nats" else r[k]))' k="$1"); do
        case "$(ps -o args= -p "$pid")" in
            *"$2"*) count=$((count + 1)) ;;
        esac
    done
    same "the number of processes $2" "$count" "$3"
}

summary() {
    json "$1" <"$set.json" || fail "not so in the summary: $1: $(cat "$set.json")"
}

say "a demo of 20 seconds ends well"
demo good 20
processes_of nats nats-server 3
processes_of agents isthmus-region-agent 6
processes_of gateways isthmus-gateway 6
seen=$(run_json '[sorted(r["nats"]["pid"] for r in d["regions"].values())] + [sorted(p["pid"] for r in d["regions"].values() for p in r[k]) for k in ("agents", "gateways")]')
ends good 120 0

say "its summary proves what it did"
summary 'd["identical"]'
summary 'all(r["acknowledged"] >= 1000 for r in d["regions"]) and len(d["regions"]) == 3'
summary 'd["keys_in_all_regions"] >= 100'
summary 'len(d["agents"]) == 6 and len({a["digest"] for a in d["agents"]}) == 1 and d["agents"][0]["digest"] is not None'
summary 'len({a["cells"] for a in d["agents"]}) == 1 and d["agents"][0]["cells"] > 0'
summary '[len(d["pids"][k]) for k in ("nats", "agents", "gateways")] == [3, 6, 6]'
same "the pids" "$(summary '[sorted(d["pids"][k]) for k in ("nats", "agents", "gateways")]')" "$seen"
summary 'len(d["links"]) == 6 and all(72 <= l["rtt_ms"] <= 88 for l in d["links"])'
summary 'all(l["lag_p50_ms"] >= l["rtt_ms"] / 2 for l in d["links"])'

say "with a cut that is not healed it waits, and ends with 2"
demo parted 20
lab cut eu-west us-east
before=$SECONDS
ends parted 120 2
# It waits for 30 s once the traffic is over; SECONDS are whole ones.
[ "$((SECONDS - before))" -ge 29 ] || fail "it gave up $((SECONDS - before)) s after the cut"
expect_fail summary 'd["identical"]'
