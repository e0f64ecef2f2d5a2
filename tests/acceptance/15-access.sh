#!/usr/bin/env bash
# A door with TLS lets in whom the settings name, to what they name: tokens and certificates, rights by bucket, roles of operators. Its certificate
# and the CA of its callers are replaced while it serves. No secret shows anywhere.
. "$(dirname "$0")/lib.sh"

# authority NAME: a CA in $work/NAME.crt and .key.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$1.key" -out "$work/$1.crt" -days 2 -subj "/CN=$1" 2>/dev/null
}

# certificate NAME CA NAMES: a certificate with these subject alternative names, and its key.
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$1" 2>/dev/null
    openssl x509 -req -in "$work/$1.csr" -CA "$work/$2.crt" -CAkey "$work/$2.key" -CAcreateserial -CAserial "$work/serial" -days 2 -out "$work/$1.crt" \
        -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=clientAuth,serverAuth\n' "$3") 2>/dev/null
    cat "$work/$1.crt" "$work/$1.key" >"$work/$1.pem"
}

# token NAME: makes a token in $work/NAME.token and prints its hash.
token() {
    isthmus token --json >"$work/$1.json"
    json 'd["token"]' <"$work/$1.json" >"$work/$1.token"
    json 'd["hash"]' <"$work/$1.json"
}

authority doors
authority callers
authority next-callers
certificate door doors "IP:127.0.0.1"
certificate reports callers "URI:spiffe://example.org/reports"
certificate stranger callers "URI:spiffe://example.org/stranger"
certificate next-reports next-callers "URI:spiffe://example.org/reports"

receiver
regions eu-west
mkdir "$set/eu-west/tls"
install_door() {
    cp "$work/door.key" "$set/eu-west/tls/door.key"
    cp "$work/door.crt" "$set/eu-west/tls/door.crt"
}
install_door
cp "$work/callers.crt" "$set/eu-west/tls/callers.crt"
touch "$set/eu-west/tls/revoked.txt"
grep -v '^\(listen\|admin\|name\|data\)' "$set/eu-west/region-agent.yaml" >"$set/eu-west/guarded.yaml"
cat >>"$set/eu-west/guarded.yaml" <<SETTINGS
name: guarded
telemetry: { otlp: { endpoint: "http://127.0.0.1:$grpc", protocol: grpc }, ratio: 1 }
listen: 0.0.0.0:0
tls: { certificate: tls/door.crt, key: tls/door.key, clients: tls/callers.crt, revoked: tls/revoked.txt }
clients:
  checkout: { tokens: ["$(token checkout)"], read: ["*"], write: [carts] }
  reports: { certificates: ["spiffe://example.org/reports"], read: [carts] }
admin:
  listen: 0.0.0.0:0
  tls: { certificate: tls/door.crt, key: tls/door.key, clients: tls/callers.crt }
  operators:
    prometheus: { tokens: ["$(token prometheus)"], role: read }
    alice: { tokens: ["$(token alice)"], role: operate }
    root: { tokens: ["$(token root)"], role: destroy }
SETTINGS
sed 's/^listen: .*/listen: 0.0.0.0:7110/; /^tls:/d' "$set/eu-west/guarded.yaml" >"$set/eu-west/open-region-agent.yaml"
expect 64 isthmus config check --kind agent "$set/eu-west/open-region-agent.yaml" >"$work/open.txt" 2>&1
grep -q "no TLS" "$work/open.txt" || fail "an open door is not refused: $(cat "$work/open.txt")"

start guarded env ISTHMUS_NATS__SERVERS="[\"$(nats_url eu-west)\"]" isthmus-region-agent --settings "$set/eu-west/guarded.yaml"
# listens DOOR: the URL of a door, as the log tells its port.
listens() {
    sed -n "s/.*door=\"$1\" address=0.0.0.0:\([0-9]*\).*/https:\/\/127.0.0.1:\1/p" "$work/guarded.log" | head -n 1
}
known() {
    door=$(listens http) admin=$(listens admin)
    [ -n "$door" ] && [ -n "$admin" ]
}
within 20 "the agent listens" known
ask() {
    curl -sS --cacert "$work/doors.crt" "$@"
}
# status CURL-ARGUMENT...: the HTTP status of an answer.
status() {
    ask -o "$work/answer" -w '%{http_code}' "$@"
}
ready() {
    [ "$(status "$admin/readyz/write")" = 200 ]
}
within 30 "the agent is ready; probes need no credentials" ready
# as NAME CURL-ARGUMENT...: the status of what a holder of a token gets.
as() {
    status -H "Authorization: Bearer $(cat "$work/$1.token")" "${@:2}"
}

say "an application is who its token or certificate says, and may do what the settings say"
same "a put with a token" "$(as checkout -X PUT -d apples-and-pears "$door/v1/kv/carts/apricot")" 200
same "a put with it" "$(as checkout -X PUT -d 1 "$door/v1/kv/carts/a")" 200
same "a get with it" "$(as checkout "$door/v1/kv/carts/a")" 200
same "a put elsewhere" "$(as checkout -X PUT -d 1 "$door/v1/kv/sessions/a")" 403
same "a get with a certificate" "$(status --cert "$work/reports.pem" "$door/v1/kv/carts/a")" 200
same "a list with it" "$(status --cert "$work/reports.pem" "$door/v1/kv/carts")" 200
same "a put with it" "$(status --cert "$work/reports.pem" -X PUT -d 2 "$door/v1/kv/carts/a")" 403
same "a delete with it" "$(status --cert "$work/reports.pem" -X DELETE "$door/v1/kv/carts/a")" 403
same "a get elsewhere" "$(status --cert "$work/reports.pem" "$door/v1/kv/sessions/a")" 403
same "nobody" "$(status "$door/v1/kv/carts/a")" 401
json 'd["code"] == "unauthenticated" and not d["retryable"]' <"$work/answer" || fail "$(cat "$work/answer")"
same "a token of nobody" "$(status -H 'Authorization: Bearer isthmus_guessed' "$door/v1/kv/carts/a")" 401
same "a certificate of nobody" "$(status --cert "$work/stranger.pem" "$door/v1/kv/carts/a")" 401
same "an operator's token" "$(as root "$door/v1/kv/carts/a")" 401
expect_fail ask --cert "$work/next-reports.pem" -f "$door/v1/kv/carts/a"
expect_fail ask --tls-max 1.2 -f "$door/v1/kv/carts/a"
batch='{"op":"put","bucket":"carts","key":"b","value":"2"}
{"op":"put","bucket":"sessions","key":"b","value":"2"}
{"op":"get","bucket":"sessions","key":"b"}'
same "a batch" "$(as checkout --data-binary "$batch" "$door/v1/batch")" 200
same "its lines" "$("$python" -c 'import json, sys; print([json.loads(line)["status"] for line in sys.stdin])' <"$work/answer")" "[200, 403, 404]"

say "the command line proves itself alike"
proof=(--via "$door" --ca "$work/doors.crt")
isthmus kv get carts/a "${proof[@]}" --token-file "$work/checkout.token" >"$work/got"
same "what was got" "$(cat "$work/got")" 1
isthmus kv get carts/a "${proof[@]}" --identity "$work/reports.pem" >"$work/got"
expect 1 isthmus kv get carts/a "${proof[@]}" 2>"$work/refused"
grep -q unauthenticated "$work/refused" || fail "$(cat "$work/refused")"

say "an operator may do what its role allows, and what it did is recorded"
same "metrics" "$(as prometheus "$admin/metrics")" 200
grep -q '^isthmus_door_refused_total{door="http",reason="unknown_token"} [1-9]' "$work/answer" || fail "refusals are not counted"
grep -q '^isthmus_certificate_not_after_timestamp_seconds{of="http",peer=""} 1' "$work/answer" || fail "the certificate's end is no metric"
same "what an application stored" "$(as prometheus "$admin/v1/why/carts/a")" 403
same "it for an operator" "$(as alice "$admin/v1/why/carts/a")" 200
same "dropping for an operator" "$(as alice -X DELETE "$admin/v1/aside/default.conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3")" 403
same "dropping for who may destroy" "$(as root -X DELETE "$admin/v1/aside/default.conflict-3-0199b3a1c2d30000-eu-west-9f0c2b7d11aa54e3")" 404
same "a password of a browser" "$(status -u "browser:$(cat "$work/alice.token")" "$admin/v1/status")" 200
same "nobody" "$(status "$admin/v1/status")" 401
# recorded CONDITION: it holds for an event e of the region's journal.
recorded() {
    isthmus events --since 1h --json --via "$admin" --ca "$work/doors.crt" --token-file "$work/prometheus.token" >"$work/events.json" &&
        json "any($1 for e in d)" <"$work/events.json"
}
within 20 "what root did is recorded" recorded 'e["kind"] == "operator_act" and e["fields"]["operator"] == "root" and e["fields"]["status"] == 404'
within 20 "a certificate of an unknown CA is recorded" recorded 'e["kind"] == "access_refused" and e["fields"]["door"] == "http" and
    e["fields"]["reason"] == "handshake" and "UnknownIssuer" in e["message"]'
within 20 "what reports may not do is recorded" recorded 'e["kind"] == "access_refused" and e["fields"]["caller"] == "reports" and
    e["fields"]["reason"] == "forbidden"'
isthmus doctor --json --via "$admin" --ca "$work/doors.crt" --token-file "$work/prometheus.token" >"$work/findings.json" || true
json 'sum(f["check"] == "certificate" and f["verdict"] == "warn" for f in d) == 2' <"$work/findings.json" || fail "$(cat "$work/findings.json")"

say "certificate and trust are replaced while it serves"
# reached: a get on a connection of its own shows the certificate that the door has now.
serial() {
    openssl s_client -connect "${door#https://}" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
before=$(serial)
certificate door doors "IP:127.0.0.1"
install_door
renewed() {
    [ "$(serial)" != "$before" ] && [ "$(as checkout "$door/v1/kv/carts/a")" = 200 ]
}
within 10 "the door shows its new certificate" renewed
cat "$work/callers.crt" "$work/next-callers.crt" >"$set/eu-west/tls/callers.crt"
certificate_of() {
    [ "$(status --cert "$work/$1.pem" "$door/v1/kv/carts/a")" = "$2" ]
}
within 10 "the next CA is trusted too" certificate_of next-reports 200
certificate_of reports 200 || fail "the CA before is still trusted"
cp "$work/next-callers.crt" "$set/eu-west/tls/callers.crt"
expelled() {
    ! certificate_of reports 200 2>/dev/null
}
within 10 "the CA before is trusted no longer" expelled
certificate_of next-reports 200 || fail "the next CA is not trusted"
certificate another next-callers "URI:spiffe://example.org/reports"
(cd "$set/eu-west/tls" && openssl x509 -in "$work/next-reports.crt" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 >>revoked.txt)
within 10 "a certificate is revoked" certificate_of next-reports 401
certificate_of another 200 || fail "another certificate of the same name was revoked too"

say "a token is taken away and another given while it serves; a broken file changes nothing"
cp "$set/eu-west/guarded.yaml" "$work/before.yaml"
echo "clients: { a: { tokens: $(cat "$work/checkout.token") } }" >>"$set/eu-west/guarded.yaml"
# logged TEXT: the agent says it.
logged() {
    grep -q "$1" "$work/guarded.log"
}
within 10 "the broken file is refused" logged 'kind="settings_refused"'
same "the token before" "$(as checkout "$door/v1/kv/carts/a")" 200
token next >"$work/next.hash"
# A batch that stands: a line now, and one when $work/later says so.
mkfifo "$work/lines"
ask -N -H "Authorization: Bearer $(cat "$work/checkout.token")" -T . -X POST "$door/v1/batch" <"$work/lines" >"$work/standing" 2>/dev/null &
standing=$!
exec 9>"$work/lines"
echo '{"op":"get","bucket":"carts","key":"a"}' >&9
answered() {
    [ "$(wc -l <"$work/standing")" -ge "$1" ]
}
within 10 "the batch is answered" answered 1
sed "s/$(json 'd["hash"]' <"$work/checkout.json")/$(cat "$work/next.hash")/" "$work/before.yaml" >"$set/eu-west/guarded.yaml"
replaced() {
    [ "$(as next "$door/v1/kv/carts/a")" = 200 ] && [ "$(as checkout "$door/v1/kv/carts/a")" = 401 ]
}
within 10 "the next token has taken the place of the one before" replaced
within 10 "what is in effect is told" logged "in effect: clients.checkout"
echo '{"op":"get","bucket":"carts","key":"a"}' >&9
within 10 "the batch that stands is answered" answered 2
exec 9>&-
wait "$standing" || true
same "the lines of a batch that stood" "$("$python" -c 'import json, sys; print([json.loads(line)["status"] for line in sys.stdin])' <"$work/standing")" "[200, 401]"

say "no secret shows"
ask -H "Authorization: Bearer $(cat "$work/root.token")" "$admin/v1/status" "$admin/metrics" "$admin/v1/events" "$admin/v1/events?since=1h" "$admin/v1/doctor" "$admin/v1/traces" >"$work/shown.txt"
# What an agent has to export is exported before it ends.
stop guarded
within 20 "the receiver tells what it has got" grep -q isthmus.key "$work/receiver.log"
cat "$work/guarded.log" "$work/events.json" "$work/refused" "$work/open.txt" "$work/receiver.log" >>"$work/shown.txt"
shows() {
    grep -qF -- "$1" "$work/shown.txt"
}
for text in guarded isthmus.key; do shows "$text" || fail "not everything was looked at: $text"; done
for text in apples-and-pears apricot; do expect_fail shows "$text"; done
for name in checkout next prometheus alice root; do
    expect_fail shows "$(cat "$work/$name.token")"
    expect_fail shows "$(json 'd["hash"]' <"$work/$name.json" | cut -d : -f 2)"
done
expect_fail shows isthmus_guessed
expect_fail shows "PRIVATE KEY"
