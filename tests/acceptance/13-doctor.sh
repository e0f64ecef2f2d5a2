#!/usr/bin/env bash
# isthmus doctor finds what is wrong before it hurts, says how to mend it, and its exit status says the worst.
. "$(dirname "$0")/lib.sh"

set=$work/shop
isthmus init "$set" --regions eu-west,us-east >/dev/null
# Here a NATS server syncs to disk before it acknowledges, there as by default.
sed -i 's/^jetstream {/jetstream {\n  sync_interval: always/' "$set/eu-west/nats.conf"
run_regions --rtt 80ms

# doctor CODE [ARGUMENT...]: looks, which must end with this exit code; findings.json has what was found.
doctor() {
    local code=0
    isthmus doctor --dir "$set" --json >"$work/findings.json" 2>"$work/doctor.err" || code=$?
    [ "$code" -eq "$1" ]
}
# found EXPRESSION [NAME=VALUE...]: of the findings d.
found() {
    json "$@" <"$work/findings.json"
}
# tells CODE VERDICT CHECK OF: the doctor ends with this code and finds this.
tells() {
    doctor "$1" && found 'any(f["verdict"] == v and f["check"] == c and o in f["of"] and f["found"] and f["mend"] for f in d)' v="$2" c="$3" o="$4"
}
only_development() {
    doctor 3 && found 'all(f["check"] in ("replicas", "sync interval") for f in d if f["verdict"] != "ok")'
}

say "a set of one server a region is well but for that"
within 30 "only what is of development is told" only_development
found 'sum(f["check"] == "replicas" and f["verdict"] == "warn" for f in d)' >"$work/told"
same "gateways that tell of one copy" "$(cat "$work/told")" 4
found 'sorted((f["region"], f["verdict"]) for f in d if f["check"] == "sync interval") == [("eu-west", "ok"), ("us-east", "warn")]' || fail "$(cat "$work/findings.json")"
compared() {
    doctor 3 && found 'sum(f["check"] == "regions" and f["verdict"] == "ok" for f in d) == 2'
}
within 60 "both leaders compare the regions" compared
same "the checks" "$(found '" ".join(sorted({f["check"] for f in d}))')" \
    "certificate checkpoints clock disk leader memory nats storage nats version open files path permissions ready regions replicas stream limit streams sync interval"
round_trip() {
    doctor 3 && found 'any(f["check"] == "path" and f["found"].startswith(("round trip 79.", "round trip 8")) for f in d)'
}
within 60 "a round trip of 80 ms" round_trip
found 'sum(f["check"] == "disk" and "nats" in f["of"] for f in d) == 2' || fail "the disks of NATS are not looked at"
expect 0 isthmus doctor --via "$(admin eu-west)" >"$work/one.txt" 2>"$work/one.err"
grep -q "^ok .* clock " "$work/one.txt" || fail "$(cat "$work/one.txt")"
grep -q -- "--monitor" "$work/one.err" || fail "it does not say what it did not look at"
expect 3 isthmus doctor --dir "$set" >"$work/all.txt" 2>"$work/all.err"
tail -n 1 "$work/all.txt" | grep -q "^      fix: " || fail "the worst is not told last: $(cat "$work/all.txt")"
expect 1 isthmus doctor --dir "$work"
expect_fail tells 3 fail clock "the region's NATS"

say "a clock"
lab clock agent-1@eu-west +200ms
within 30 "a clock is told" tells 3 warn clock "the region's NATS"
lab clock agent-1@eu-west +900ms
within 30 "a clock is off" tells 2 fail clock "the region's NATS"
lab clock agent-1@eu-west +0ms
within 30 "the clock is right again" only_development

say "a link"
lab cut eu-west us-east
within 60 "a link is missed" tells 2 fail link us-east
lab heal
within 60 "the link is back" only_development

say "certificates that end soon: its own, and those of peers"
name=$(openssl x509 -in "$set/us-east/gateway.crt" -noout -ext subjectAltName | sed -n 's/^ *URI://p')
openssl req -new -key "$set/us-east/gateway.key" -out "$work/new.csr" -subj /CN=gateway 2>/dev/null
openssl x509 -req -in "$work/new.csr" -CA "$set/us-east/ca.crt" -CAkey "$set/us-east/ca.key" -CAcreateserial -CAserial "$work/serial" -days 5 -out "$work/new.crt" \
    -extfile <(printf 'subjectAltName=URI:%s\nextendedKeyUsage=clientAuth,serverAuth\nkeyUsage=digitalSignature\n' "$name") 2>/dev/null
mv "$work/new.crt" "$set/us-east/gateway.crt"
within 30 "its own certificate is told" tells 3 warn certificate "this gateway"
lab reset eu-west us-east
within 60 "the certificate of the peer is told" tells 3 warn certificate us-east

say "a process that is gone, and a NATS that is away"
lab down agent-2@us-east
within 30 "it is missed" tells 2 fail process ""
lab start agent-2@us-east
lab stop nats@us-east
within 30 "NATS is missed" tells 2 fail nats ""
within 30 "its processes miss it" tells 2 fail "nats version" ""
within 30 "nothing is said of its streams" tells 2 fail replicas ""
lab cont nats@us-east
within 60 "everybody is there" doctor 3
