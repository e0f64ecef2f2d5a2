#!/usr/bin/env bash
# Debian's Prometheus scrapes three regions as configs/observability says: every query of the dashboard answers, alerts fire and end, and what
# their pages tell to do can be done.
. "$(dirname "$0")/lib.sh"

if ! prometheus=$("$root/tools/prometheus"); then
    say "SKIPPED: without Prometheus nothing of this can be shown"
    exit 0
fi
configs=$root/configs/observability
"$prometheus/promtool" check rules "$configs/alerts.yaml" >"$work/rules.log" || fail "$(cat "$work/rules.log")"
"$prometheus/promtool" check config "$configs/prometheus.yaml" >"$work/config.log" || fail "$(cat "$work/config.log")"

cd "$work"
set=$work/shop
isthmus init "$set" --regions eu-west,us-east,ap-south >/dev/null
for file in "$set"/*/region-agent.yaml "$set"/*/gateway.yaml; do
    # The receiver is away: traces are recorded, and exemplars name them.
    printf 'telemetry: { otlp: { endpoint: "http://127.0.0.1:9", protocol: http }, ratio: 1 }\n' >>"$file"
done
run_regions --rtt 20ms

# The shipped file with the targets that run here, asked every second.
"$python" - "$configs/prometheus.yaml" "$set/run.json" >prometheus.yaml <<'PYTHON'
import json, re, sys
text, run = open(sys.argv[1]).read(), json.load(open(sys.argv[2]))
def targets(kind):
    blocks = ""
    for region, processes in run["regions"].items():
        admins = ", ".join('"%s"' % process["admin"].removeprefix("http://") for process in processes[kind])
        blocks += f"      - targets: [{admins}]\n        labels: {{ region: {region} }}\n"
    return blocks
for kind in ("agents", "gateways"):
    text = re.sub(rf"(job_name: isthmus-{kind}\n    static_configs:\n)(?:      .*\n)+", lambda found: found[1] + targets(kind), text)
print(text.replace("interval: 5s", "interval: 1s"))
PYTHON
cp "$configs/alerts.yaml" .
free_port
port=$free
start prometheus "$prometheus/prometheus" --config.file prometheus.yaml --storage.tsdb.path "$work/tsdb" \
    --web.listen-address "127.0.0.1:$port" --enable-feature=exemplar-storage
api=http://127.0.0.1:$port/api/v1

# ask PATH NAME=VALUE...: Prometheus' answer.
ask() {
    local path=$1 arguments=()
    shift
    for pair in "$@"; do arguments+=(--data-urlencode "$pair"); done
    curl -fsS --get "${arguments[@]}" "$api/$path"
}
# answers QUERY: whether the query has a result.
answers() {
    ask query "query=$1" | json 'd["status"] == "success" and len(d["data"]["result"]) > 0'
}
within 60 "all twelve processes are scraped" answers 'count(up{job=~"isthmus-.*"} == 1) == 12'

say "traffic, and a conflict"
for region in eu-west us-east ap-south; do
    for key in 1 2 3 4 5; do
        same "a write" "$(request -X PUT --data "$region" "$(door "$region")/v1/kv/shop/$region-$key")" 200
    done
done
lab cut eu-west us-east
for region in eu-west us-east; do
    same "a write that sees no other" "$(request -X PUT --data "$region" "$(door "$region")/v1/kv/shop/both")" 200
done
lab heal
within 60 "a conflict is counted" answers 'sum(isthmus_conflicts_total) > 0'

say "every query of the dashboard has a result"
"$python" -c '
import json, sys
for panel in json.load(open(sys.argv[1]))["panels"]:
    for target in panel["targets"]:
        print(target["expr"])' "$configs/dashboard.json" >queries.txt
[ "$(wc -l <queries.txt)" -ge 15 ] || fail "too few queries: $(cat queries.txt)"
while read -r query; do
    within 30 "a result of $query" answers "$query"
done <queries.txt
expect_fail answers isthmus_no_such_metric
exemplars() {
    ask query_exemplars 'query=isthmus_delay_seconds_bucket' "start=$(($(date +%s) - 300))" "end=$(date +%s)" |
        json 'any(len(e["labels"]["trace_id"]) == 32 for series in d["data"] for e in series["exemplars"])'
}
within 30 "an exemplar that names a trace" exemplars
grep -A1 'exemplarTraceIdDestinations:' "$configs/grafana.yaml" | grep -q 'name: trace_id' || fail "grafana.yaml does not lead from exemplars to traces"

say "what the alerts' pages tell to do can be done"
sed -n 's/^ *- alert: //p' alerts.yaml >alerts.txt
while read -r alert; do
    page=$root/docs/operations/alerts/$alert.md
    [ -f "$page" ] || fail "no page of $alert"
    grep -q "\[$alert\]($alert.md)" "$root/docs/operations/alerts/README.md" || fail "$alert is not listed"
    # shellcheck disable=SC2016
    sed -n '/^```bash$/,/^```$/p' "$page" | grep -v '^```' >commands.txt || fail "$alert names no command"
    while read -r command; do
        bash -c "$command" >command.out 2>&1 </dev/null || fail "$alert: '$command' failed: $(cat command.out)"
    done <commands.txt
done <alerts.txt

# firing ALERT LABEL=VALUE...: whether the alert fires with these labels.
firing() {
    local alert=$1
    shift
    ask alerts | json 'any(a["state"] == "firing" and a["labels"]["alertname"] == n and all(a["labels"].get(k) == v for k, v in
        (pair.split("=") for pair in wanted.split())) for a in d["data"]["alerts"])' n="$alert" wanted="$*"
}
quiet() {
    ask alerts | json 'not any(a["state"] == "firing" and a["labels"]["alertname"] == n for a in d["data"]["alerts"])' n="$1"
}

say "a link that is cut"
within 60 "no lag" quiet IsthmusLagHigh
lab cut eu-west us-east
within 90 "the lag is alarming" firing IsthmusLagHigh origin=eu-west peer=us-east
within 60 "the link is down" firing IsthmusLinkDown region=eu-west peer=us-east
firing IsthmusLagHigh origin=eu-west peer=ap-south && fail "ap-south is not behind"
lab heal
within 60 "the lag has gone" quiet IsthmusLagHigh
within 60 "the link is up" quiet IsthmusLinkDown

say "gateways that are gone"
lab down gateways@ap-south
within 90 "somebody is missed" firing IsthmusDown job=isthmus-gateways region=ap-south
lab start gateways@ap-south
within 60 "nobody is missed" quiet IsthmusDown
