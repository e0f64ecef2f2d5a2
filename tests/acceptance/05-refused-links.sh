#!/usr/bin/env bash
# A link is refused to everyone who can't prove to be a gateway of the other region, whichever end dials, each time with
# its reason in the log and a counter.
. "$(dirname "$0")/lib.sh"

regions eu-west,us-east
set_name=$(sed -n 's/^set: *\([a-z0-9-]*\).*/\1/p' "$set/set.yaml")
name=spiffe://isthmus.local/isthmus/$set_name/region/us-east/gateway

# certificate FILE CA NAMES: a gateway's certificate with these subject alternative names, signed by the CA.
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$1" 2>/dev/null
    openssl x509 -req -in "$work/$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -CAserial "$work/serial" -days 2 -out "$work/$1.crt" \
        -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=clientAuth,serverAuth\nkeyUsage=digitalSignature\n' "$3") 2>/dev/null
}

certificate good "$set/us-east/ca" "URI:$name"
certificate several "$set/us-east/ca" "URI:$name,URI:${name/us-east/eu-west}"
certificate nameless "$set/us-east/ca" "DNS:example.org"
certificate another-set "$set/us-east/ca" "URI:${name/$set_name/other}"
certificate another-regions-ca "$set/eu-west/ca" "URI:$name"
certificate own-region "$set/eu-west/ca" "URI:${name/us-east/eu-west}"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/foreign-ca.key" -out "$work/foreign-ca.crt" -days 2 -subj /CN=foreign 2>/dev/null
certificate foreign "$work/foreign-ca" "URI:$name"

# counter REASON: how many links $admin has refused for it.
counter() {
    curl -fsS "$admin/metrics" | sed -n "s/^isthmus_link_refused_total{reason=\"$1\"} //p"
}

# refusals: how many links $admin has refused, for any reason.
refusals() {
    curl -fsS "$admin/metrics" | awk '/^isthmus_link_refused_total/ { sum += $NF } END { print sum }'
}

counted() {
    [ "$(counter "$1")" -gt "$2" ]
}

logged() {
    tail -c "+$(($2 + 1))" "$log" | grep -q "$1"
}

# refused REASON COMMAND...: a gateway's door at $admin counts a refusal for this reason and says it in $log.
refused() {
    local reason=$1 before size
    shift
    before=$(counter "$reason")
    [ -n "$before" ] || fail "there is no counter for $reason"
    size=$(stat -c %s "$log")
    "$@"
    within 20 "a refusal is counted as $reason" counted "$reason" "$before"
    within 20 "the log says $reason" logged "$reason" "$size"
    say "refused: $reason"
}

# dial NAME ARGUMENT...: opens a link with this certificate (or none) as a client does, until the
# gateway closes it or 6 s.
dial() {
    local as=()
    [ "$1" = nobody ] || as=(-cert "$work/$1.crt" -key "$work/$1.key")
    timeout 6 openssl s_client -connect "$link" -alpn isthmus/1 -ign_eof "${as[@]}" "${@:2}" </dev/null >"$work/dial.out" 2>&1 || true
}

say "who dials a gateway of eu-west"
admin=$(gateway_admin eu-west)
link=$(run_json 'd["regions"]["eu-west"]["gateways"][0]["link"]')
log=$set/eu-west/gateway-1.log
refused old_tls dial good -tls1_2
refused no_certificate dial nobody
refused unknown_ca dial foreign
refused another_regions_ca dial another-regions-ca
refused own_region dial own-region
refused several_uri_names dial several
refused no_uri_name dial nameless
refused another_set dial another-set

say "a gateway of us-east is not refused"
before=$(refusals)
dial good
grep -q "TLSv1.3" "$work/dial.out" || fail "there was no handshake: $(cat "$work/dial.out")"
same "the refusals" "$(refusals)" "$before"
expect_fail refused unknown_ca dial good

# dialled ARGUMENT...: what a gateway of eu-west finds where it looks for us-east.
dialled() {
    start server openssl s_server -accept "$port" -alpn isthmus/1 -Verify 1 -quiet "$@"
}

say "whom a gateway of eu-west dials"
lab down gateways@eu-west >/dev/null
free_port
port=$free
cd "$set/eu-west"
start gateway env ISTHMUS_NAME=gateway-3 ISTHMUS_NATS__SERVERS="[\"$(nats_url eu-west)\"]" \
    ISTHMUS_ADMIN__LISTEN=127.0.0.1:0 ISTHMUS_LINK__LISTEN=127.0.0.1:0 ISTHMUS_LINK__DIAL="{us-east: [\"127.0.0.1:$port\"]}" \
    isthmus-gateway --settings gateway.yaml
cd "$work"
log=$work/gateway.log
admin_known() {
    admin=http://$(sed -n 's/.*door="*admin"*.*address=\(127[0-9.:]*\).*/\1/p' "$log" | head -n 1)
    [ "$admin" != http:// ]
}
within 10 "gateway-3 listens" admin_known
within 20 "gateway-3 counts" counter another_region
for met in "another_region own-region" "unknown_ca foreign" "another_regions_ca another-regions-ca" "several_uri_names several" "another_set another-set"; do
    read -r reason certificate <<<"$met"
    refused "$reason" dialled -cert "$work/$certificate.crt" -key "$work/$certificate.key" -tls1_3
    stop server
done
refused old_tls dialled -cert "$work/good.crt" -key "$work/good.key" -tls1_2
