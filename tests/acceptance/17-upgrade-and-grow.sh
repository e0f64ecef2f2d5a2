#!/usr/bin/env bash
# Every process of two regions is replaced in turn, as in an upgrade, and a third region joins, all under a load of which nothing is lost. NATS gives
# the rights of configs/production, so that an operator makes what processes read and write. The steps are those of docs/operations/upgrade.md and
# add-a-region.md.
. "$(dirname "$0")/lib.sh"

every=$work/every
isthmus init "$every" --set shop --regions eu-west,us-east,ap-south >/dev/null

nkeys
nats_certificate
for region in eu-west us-east ap-south; do
    for role in agent gateway; do
        settings=$every/$region/${role/agent/region-agent}.yaml
        sed -i "s|^\(nats: .*\) }$|\1, credentials: $work/$role.nk, ca: $work/nats/ca.pem, domain: $region }|; s/^log: .*/log: { create: false }/" "$settings"
    done
done
set=$work/set
cp -r "$every" "$set"
rm -r "$set/ap-south"
sed -i '/^  ap-south:/d' "$set/set.yaml"
production_nats "$work/nats" eu-west us-east >"$set/eu-west/nats.conf"
production_nats "$work/nats" us-east eu-west >"$set/us-east/nats.conf"
start up isthmus up "$set" --port-base auto --rtt 20ms
within 30 "what runs is known" test -s "$set/run.json"
for region in eu-west us-east; do region_init "$region" "$(nats_url "$region")" agent-1 agent-2 gateway-1 gateway-2; done
within 90 "isthmus up is ready" is_ready

# Every process, as commands are told of it.
vias=()
for region in eu-west us-east; do
    for kind in agents gateways; do
        for url in $(run_json '" ".join(p["admin"] for p in d["regions"][r][k])' r="$region" k="$kind"); do vias+=(--via "$url"); done
    done
done

# doctor: nothing fails; what a machine of tests warns of (one copy, disks that are not synced) is no matter here.
doctor() {
    isthmus doctor "${vias[@]}" --json >"$work/findings.json" || true
    json 'd and not [f for f in d if f["verdict"] == "fail"]' <"$work/findings.json"
}
within 60 "all is well before" doctor

# Each log holds everything still: a new region reads it from its beginning.
curl -s "$(admin eu-west)/v1/status" | python3 -c 'import json, sys; print([shard["log"] for shard in json.load(sys.stdin)["shards"]])' >"$work/logs.txt"
same "the logs that begin at 1" "$(grep -o "'first': 1[,}]" "$work/logs.txt" | wc -l)" 4

history=$work/history.ndjson
start load isthmus load --history "$history" --dir "$set" --seconds 150 --writers 8 --json
within 10 "writes are recorded" test -s "$history"

# process KIND NAME@REGION FIELD: what run.json says of a process that runs now.
process() {
    run_json '[p[f] for p in d["regions"][r][k] if p["name"] == n][0]' k="$1" n="${2%@*}" r="${2#*@}" f="$3"
}
another_runs() {
    local pid
    pid=$(process "$1" "$2" pid)
    [ "$pid" != "$3" ] && [ "$pid" != 0 ] && curl -fsS --max-time 2 "$(process "$1" "$2" admin)/readyz/write"
}
# replace KIND NAME@REGION: ends a process in order; the next one must be ready before anything else is touched.
replace() {
    local pid
    pid=$(process "$1" "$2" pid)
    lab restart "$2" >/dev/null
    within 40 "another $2 is ready" another_runs "$1" "$2" "$pid"
}
replace_all() {
    local region
    for region in eu-west us-east; do
        for name in agent-1 agent-2; do replace agents "$name@$region"; done
        for name in gateway-1 gateway-2; do replace gateways "$name@$region"; done
    done
}

say "every process is replaced in turn, and takes up the next set.yaml"
free_port
nats_port=$free
free_port
link_port=$free
sed "s/^generation: 1/generation: 2/; s/^  ap-south:.*/  ap-south: { gateways: [\"127.0.0.1:$link_port\"], trust: trust\/ap-south.pem }/" "$every/set.yaml" >"$work/next.yaml"
cp "$every/trust/ap-south.pem" "$set/trust/"
mv "$work/next.yaml" "$set/set.yaml"
isthmus config check "$set/eu-west/gateway.yaml" >/dev/null
# shown REGION: the serial number of the certificate that the region's NATS server shows.
shown() {
    "$python" - "$(nats_url "$1")" "$work/nats/ca.pem" <<'SHOWN'
import socket, ssl, sys, urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
with socket.create_connection((url.hostname, url.port), 5) as plain:
    said = b"-"
    while said and not said.endswith(b"\r\n"):
        said = plain.recv(4096)
    with ssl.create_default_context(cafile=sys.argv[2]).wrap_socket(plain, server_hostname=url.hostname) as sealed:
        print(sealed.getpeercert()["serialNumber"])
SHOWN
}
before=$(shown eu-west)
nats_certificate
for region in eu-west us-east; do
    region_init "$region" "$(nats_url "$region")" agent-1 agent-2 gateway-1 gateway-2
    other=eu-westus-east
    production_nats "$work/nats" "$region" "${other/$region/}" ap-south >"$set/$region/nats.conf"
    "$ISTHMUS_NATS_SERVER" --signal reload="$(run_json 'd["regions"][r]["nats"]["pid"]' r="$region")"
    within 10 "the servers of $region give the next rights" grep -q "Reloaded server configuration" "$set/$region/nats.log"
done
after=$(shown eu-west)
[ "$after" != "$before" ] || fail "the NATS server shows the certificate before"
replace_all
generations() {
    isthmus status --via "$(gateway_admin eu-west)" --json >"$work/status.json"
    json 'all(d["regions"][r].get("generation") == 2 for r in ["eu-west", "us-east"])' <"$work/status.json"
}
within 20 "both regions run on generation 2" generations

say "the third region begins"
cp -r "$every/ap-south" "$set/ap-south"
cd "$set/ap-south"
production_nats "$work/nats" ap-south eu-west us-east | sed "s/^listen: .*/listen: 127.0.0.1:$nats_port/; /^http:/d" >nats.conf
start ap-nats "$ISTHMUS_NATS_SERVER" -c nats.conf
region_init ap-south "nats://127.0.0.1:$nats_port" agent-1 gateway-1
# The links of the regions that run here go through a network of their own, which set.yaml does not know.
dial="{eu-west: [\"$(run_json 'd["regions"]["eu-west"]["gateways"][0]["link"]')\"], us-east: [\"$(run_json 'd["regions"]["us-east"]["gateways"][0]["link"]')\"]}"
start ap-agent env ISTHMUS_NATS__SERVERS="[\"nats://127.0.0.1:$nats_port\"]" ISTHMUS_LISTEN=127.0.0.1:0 ISTHMUS_ADMIN__LISTEN=127.0.0.1:0 \
    isthmus-region-agent --settings region-agent.yaml
start ap-gateway env ISTHMUS_NATS__SERVERS="[\"nats://127.0.0.1:$nats_port\"]" ISTHMUS_ADMIN__LISTEN=127.0.0.1:0 ISTHMUS_LINK__LISTEN="127.0.0.1:$link_port" \
    ISTHMUS_LINK__DIAL="$dial" isthmus-gateway --settings gateway.yaml
cd "$work"
# listens NAME DOOR: where a process of the new region listens.
listens() {
    sed -n "s/.*door=\"$2\" address=\(127[0-9.:]*\).*/http:\/\/\1/p" "$work/$1.log" | head -n 1
}
known() {
    new=$(listens ap-agent http) new_admin=$(listens ap-agent admin) new_gateway=$(listens ap-gateway admin)
    [ -n "$new" ] && [ -n "$new_admin" ] && [ -n "$new_gateway" ]
}
within 20 "the new region listens" known
takes_writes() {
    curl -fsS --max-time 2 "$new_admin/readyz/write" && curl -fsS --max-time 2 "$new_gateway/readyz/write"
}
within 40 "the new region takes writes" takes_writes
current() {
    curl -fsS --max-time 2 "$new_admin/readyz/read?max_lag=3s"
}
within 60 "what the new region has is current" current
runs load || fail "the load ended before the region had joined"

say "a write of the new region is read in the others, and theirs in it"
same "a put in ap-south" "$(request -X PUT --data south "$new/v1/kv/shop/from-south")" 200
session=$(header Isthmus-Session)
for region in eu-west us-east; do
    same "it in $region" "$(request -H "Isthmus-Session: $session" "$(door "$region")/v1/kv/shop/from-south?timeout=20s")" 200
    same "a put in $region" "$(request -X PUT --data "$region" "$(door "$region")/v1/kv/shop/from-$region")" 200
    same "it in ap-south" "$(request -H "Isthmus-Session: $(header Isthmus-Session)" "$new/v1/kv/shop/from-$region?timeout=20s")" 200
done
say "majority counts three regions now"
within 30 "a write of the new region is everywhere" \
    isthmus kv put carts/new-region x --consistency all --via "$new"
majority() {
    [ "$(request -X PUT --data x "$(door eu-west)/v1/kv/shop/majority?consistency=all&timeout=5s")" = 200 ] &&
        [ "$(json 'sorted(d["regions"])' <"$work/body")" = '["ap-south", "eu-west", "us-east"]' ]
}
within 30 "all three regions confirm" majority

ends load 240 0
isthmus-check "$history" --json >"$work/verdict" || fail "$(head -c 2000 "$work/verdict")"
json 'd["acknowledged"] >= 1000' <"$work/verdict" || fail "$(cat "$work/verdict")"
vias+=(--via "$new_admin" --via "$new_gateway")
within 60 "all is well after, in the new region too" doctor

say "no secret shows"
for url in $(printf '%s\n' "${vias[@]}" | grep http); do
    for page in status events events?since=1h doctor traces; do curl -sS "$url/v1/$page"; done
    curl -sS "$url/metrics"
done >"$work/shown.txt"
find "$work" -name '*.log' -exec cat {} + >>"$work/shown.txt"
cat "$work/findings.json" "$work/status.json" >>"$work/shown.txt"
shows() {
    grep -qF -- "$1" "$work/shown.txt"
}
for text in gateway-2 agent-1 isthmus_door_refused_total; do shows "$text" || fail "not everything was looked at: $text"; done
for user in operator agent gateway; do expect_fail shows "$(cat "$work/$user.nk")"; done
expect_fail shows "PRIVATE KEY"
for key in "$set"/*/gateway.key "$work/nats/server.key"; do expect_fail shows "$(sed -n 2p "$key")"; done

say "every key of the history is in the new region as in the others"
digests() {
    local admin
    for admin in "$(admin eu-west)" "$new_admin"; do
        curl -fsS "$admin/v1/status" | json '[[s["group"], s["partition"], s["digest"], s["cells"]] for s in d["shards"]]' || return 1
    done | sort -u | wc -l
}
alike() {
    [ "$(digests)" = 1 ]
}
within 30 "the new region has what the others have" alike
stop ap-gateway
same "a put that the new region can't get" "$(request -X PUT --data more "$(door eu-west)/v1/kv/shop/more")" 200
expect_fail alike
