#!/usr/bin/env bash
# A region's gateway certificate and then its CA are replaced under load: no write of a client fails, and another region goes without news for no
# second. The steps are those of docs/operations/certificates.md.
. "$(dirname "$0")/lib.sh"

set=$work/set
isthmus init "$set" --regions eu-west,us-east >/dev/null
for region in eu-west us-east; do
    touch "$set/$region/revoked.txt"
    sed -i 's/key: gateway.key }/key: gateway.key, revoked: revoked.txt }/' "$set/$region/gateway.yaml"
done
run_regions --rtt 20ms
set_name=$(sed -n 's/^set: *\([a-z0-9-]*\).*/\1/p' "$set/set.yaml")

# client FILE: writes a beat in each region 50 times a second, looks for it in the other one, and writes a line for each write and each
# sight of a new beat: what, region, milliseconds, and for a write its status.
cat >"$work/client.py" <<'CLIENT'
import http.client, signal, sys, threading, time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
start, stop, lock = time.monotonic(), threading.Event(), threading.Lock()
history = open(sys.argv[1], "w", buffering=1)

def tell(*what):
    with lock:
        print(*what, file=history)

def ask(door, method, path, body=None):
    connection = http.client.HTTPConnection(door, timeout=5)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()

def beats(region, door):
    count = 0
    while not stop.is_set():
        count += 1
        try:
            status, _ = ask(door, "PUT", f"/v1/kv/beats/{region}", str(count))
        except OSError as error:
            status = type(error).__name__
        tell("put", region, int((time.monotonic() - start) * 1000), status)
        time.sleep(0.02)

def watches(region, door):
    seen = None
    while not stop.is_set():
        status, body = ask(door, "GET", f"/v1/kv/beats/{region}")
        if status == 200 and body != seen:
            seen = body
            tell("seen", region, int((time.monotonic() - start) * 1000))
        time.sleep(0.005)

eu, us = (url.removeprefix("http://") for url in sys.argv[2:4])
tasks = [(beats, "eu-west", eu), (watches, "eu-west", us), (beats, "us-east", us), (watches, "us-east", eu)]
threads = [threading.Thread(target=task, args=(region, door)) for task, region, door in tasks]
for thread in threads:
    thread.start()
signal.sigwait({signal.SIGTERM})
stop.set()
for thread in threads:
    thread.join()
CLIENT
# verdict FILE: how many writes there were, how many failed, and the longest time without a new beat of each region in the other, in milliseconds.
cat >"$work/verdict.py" <<'VERDICT'
import json, sys

puts, failed, last, gaps = 0, 0, {}, {"eu-west": 0, "us-east": 0}
for what, region, at, *rest in (line.split() for line in open(sys.argv[1])):
    if what == "put":
        puts += 1
        failed += rest != ["200"]
    else:
        gaps[region] = max(gaps[region], int(at) - last.get(region, int(at)))
        last[region] = int(at)
print(json.dumps({"puts": puts, "failed": failed, "gaps": gaps}))
VERDICT

# issue CA: a certificate of us-east's gateways from $work/CA, put in the place of the one before.
issue() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/gateway.key" -out "$work/gateway.csr" -subj /CN=gateway 2>/dev/null
    openssl x509 -req -in "$work/gateway.csr" -CA "$work/$1.crt" -CAkey "$work/$1.key" -CAcreateserial -CAserial "$work/serial" -days 30 -out "$work/gateway.crt" \
        -extfile <(printf 'subjectAltName=URI:spiffe://isthmus.local/isthmus/%s/region/us-east/gateway\nextendedKeyUsage=clientAuth,serverAuth\nkeyUsage=digitalSignature\n' "$set_name") 2>/dev/null
    mv "$work/gateway.key" "$work/gateway.crt" "$set/us-east/"
}

# trusts FILE...: what every region trusts for us-east, at once for all of them on this machine.
trusts() {
    cat "$@" >"$work/trust.pem"
    mv "$work/trust.pem" "$set/trust/us-east.pem"
}

# told REGION TEXT COUNT: both gateways of the region have said it so often in their logs.
told() {
    local log
    for log in "$set/$1"/gateway-[12].log; do
        [ "$(grep -c "$2" "$log")" -ge "$3" ] || return 1
    done
}

cp "$set/us-east/ca.crt" "$work/before.crt"
cp "$set/us-east/ca.key" "$work/before.key"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/after.key" -out "$work/after.crt" -days 30 -subj /CN=after \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null

# verdict HISTORY: fails unless no write failed and no second went by without news.
verdict() {
    "$python" "$work/verdict.py" "$1" >"$work/verdict.json"
    json 'd["puts"] > 200 and d["failed"] == 0 and 0 < max(d["gaps"].values()) <= 1000' <"$work/verdict.json"
}

# beats REGION COUNT: so many new beats of the region have been seen since $marked lines.
beats() {
    [ "$(tail -n "+$marked" "$history" | grep -c "^seen $1 ")" -ge "$2" ]
}

# goes_on: news of both regions arrive after what was just done.
goes_on() {
    marked=$(wc -l <"$history")
    within 20 "beats of eu-west are seen in us-east" beats eu-west 100
    within 20 "beats of us-east are seen in eu-west" beats us-east 100
}

# clients HISTORY: starts the client.
clients() {
    history=$work/$1
    start client "$python" "$work/client.py" "$history" "$(door eu-west)" "$(door us-east)"
    within 10 "the client has begun" test -s "$history"
    goes_on
}

clients rotation
reloaded='kind="credentials_reloaded"'

say "a new certificate of the same CA"
issue before
within 10 "us-east takes it up" told us-east "$reloaded" 1
goes_on

say "the next CA: trusted beside the one before, then certificates of it, then the one before is trusted no longer"
trusts "$work/before.crt" "$work/after.crt"
within 10 "us-east trusts both" told us-east "$reloaded" 2
within 10 "eu-west trusts both" told eu-west "$reloaded" 1
issue after
within 10 "us-east takes it up" told us-east "$reloaded" 3
goes_on
trusts "$work/after.crt"
within 10 "us-east trusts the next alone" told us-east "$reloaded" 4
within 10 "eu-west trusts the next alone" told eu-west "$reloaded" 2
goes_on

stop client
verdict "$work/rotation" || fail "$(cat "$work/verdict.json")"
say "$(cat "$work/verdict.json")"
for region in eu-west us-east; do
    ! told "$region" 'kind="credentials_refused"' 1 || fail "credentials were refused in $region"
done
isthmus events --since 10m --kind credentials_reloaded --via "$(gateway_admin us-east)" >"$work/events.txt"
grep -q "were reloaded" "$work/events.txt" || fail "what was taken up is no event"

say "a key that somebody else may have: its links are cut, and a new one is let in"
# link STATE...: of eu-west to us-east, as a gateway of eu-west sees it, is one of these.
link() {
    isthmus status --via "$(gateway_admin eu-west)" --json >"$work/status.json" &&
        json '[k["state"] in s.split() for k in d["regions"]["eu-west"]["links"]] == [True]' s="$*" <"$work/status.json"
}
within 20 "the link stands" link connected
ends_of_peers() {
    for gateway in 0 1; do curl -sS "$(gateway_admin eu-west "$gateway")/metrics"; done >"$work/metrics.txt"
    grep -q '^isthmus_certificate_not_after_timestamp_seconds{of="peer",peer="us-east"} 1' "$work/metrics.txt"
}
within 20 "when the peer's certificate ends is a metric" ends_of_peers
(cd "$set/eu-west" && openssl x509 -in ../us-east/gateway.crt -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 >>revoked.txt)
within 20 "the link is cut" link dialing greeting
within 20 "a gateway of eu-west says why" grep -q "is revoked by" "$set/eu-west/gateway-1.log" "$set/eu-west/gateway-2.log"
issue after
within 30 "the link stands again" link connected

say "a link that is cut for 2 s is a gap that the same verdict sees"
clients cut
lab cut eu-west us-east
marked=$(wc -l <"$history")
writes_go_on() {
    [ "$(tail -n "+$marked" "$history" | grep -c '^put eu-west ')" -ge 80 ]
}
within 20 "writes go on for about two seconds" writes_go_on
lab heal eu-west us-east
goes_on
stop client
expect_fail verdict "$work/cut"
