# Sourced by every acceptance script: . "$(dirname "$0")/lib.sh"
# shellcheck shell=bash
#
# A script uses the shipped binaries, curl, openssl and $python (nats-py, rotel), and nothing else of ours. It works in $work, a
# folder of its own; whatever it started ends with it. It waits on conditions, and it has a negative run (expect_fail).

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
binaries=${CARGO_TARGET_DIR:-$root/target}/debug
python=$root/.tools/venv/bin/python3
export ISTHMUS_NATS_SERVER=${ISTHMUS_NATS_SERVER:-$root/.tools/nats-server}
export PATH=$binaries:$PATH

say() {
    printf -- '-- %s\n' "$*"
}

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

for needed in "$binaries/isthmus" "$binaries/isthmus-check" "$binaries/isthmus-gateway" "$binaries/isthmus-region-agent"; do
    [ -x "$needed" ] || fail "$needed is not built: run 'make acceptance', which builds it."
done
for needed in "$python" "$ISTHMUS_NATS_SERVER"; do
    [ -x "$needed" ] || fail "$needed is missing: run 'make tools'."
done

work=$(mktemp -d "${TMPDIR:-/var/tmp}/isthmus-acceptance.XXXXXX")
declare -A pids=()

clean_up() {
    local status=$?
    trap - EXIT
    [ "$status" -eq 0 ] || show_logs || true
    for name in "${!pids[@]}"; do
        stop "$name" || status=1
    done
    rm -rf "$work"
    exit "$status"
}

# show_logs: the end of each log, as it is before anything is ended.
show_logs() {
    find "$work" -name '*.log' -size +0 -print | sort | while read -r log; do
        printf '\n-- the end of %s\n' "${log#"$work"/}"
        tail -n 15 "$log"
    done
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# start NAME COMMAND...: runs the command in the background, its output in $work/NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    pids[$name]=$!
    wait_until 2 became "$!" || true
}

# became PID: whether it runs a program of its own; a signal to a shell that is about to is lost.
became() {
    ! cmp -s "/proc/$1/cmdline" "/proc/$$/cmdline"
}

# runs NAME: whether it still runs.
runs() {
    ! ended "${pids[$1]}"
}

# stop NAME: ends it, at first kindly; false when it had to be killed.
stop() {
    local name=$1 pid=${pids[$1]} kindly=0
    unset "pids[$name]"
    if kill -TERM "$pid" 2>/dev/null && ! wait_until 30 ended "$pid"; then
        kill -KILL "$pid" 2>/dev/null
        printf '%s did not end within 30 s and was killed\n' "$name" >&2
        kindly=1
    fi
    wait "$pid" 2>/dev/null || true
    return "$kindly"
}

# ends NAME SECONDS CODE: it must end by itself, in time and with this code.
ends() {
    local name=$1 pid=${pids[$1]} code=0
    within "$2" "$name ends" ended "$pid"
    wait "$pid" || code=$?
    unset "pids[$name]"
    [ "$code" -eq "$3" ] || fail "$name ended with $code, not $3"
}

# ended PID: whether the process is gone or only waits to be collected by us.
ended() {
    ! kill -0 "$1" 2>/dev/null || [ "$(ps -o stat= -p "$1" | cut -c 1)" = Z ]
}

# wait_until SECONDS COMMAND...: runs the command again and again until it succeeds; false when the time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# within SECONDS WHAT COMMAND...: wait_until, or the script fails and says what did not happen.
within() {
    local seconds=$1 what=$2
    shift 2
    wait_until "$seconds" "$@" || fail "not within $seconds s: $what"
}

# expect CODE COMMAND...: the command must end with this code.
expect() {
    local wanted=$1 code=0
    shift
    "$@" || code=$?
    [ "$code" -eq "$wanted" ] || fail "'$*' ended with $code, not $wanted"
}

# expect_fail COMMAND...: the negative run; the command must fail, in a shell of its own, so that a function may `fail`.
expect_fail() {
    if ("$@") >"$work/expected-failure.out" 2>&1; then
        cat "$work/expected-failure.out"
        fail "'$*' succeeded, and it must not"
    fi
}

# same WHAT FOUND WANTED: two texts must be equal.
same() {
    [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

# json EXPRESSION [NAME=VALUE...] <FILE: prints a Python expression over the document `d`; true and false become exit codes.
json() {
    "$python" -c '
import json, sys
names = dict(pair.split("=", 1) for pair in sys.argv[2:])
found = eval(sys.argv[1], {"d": json.load(sys.stdin), **names})
if isinstance(found, bool):
    sys.exit(0 if found else 1)
print(found if isinstance(found, str) else json.dumps(found))
' "$@"
}

# regions NAME,NAME...: writes a set into $set and runs it on free ports; further arguments go to isthmus up.
regions() {
    set=$work/set
    isthmus init "$set" --regions "$1" >/dev/null
    run_regions "${@:2}"
}

# run_regions [ARGUMENT...]: runs the set in $set until everything is ready.
run_regions() {
    start up isthmus up "$set" --port-base auto "$@"
    within 90 "isthmus up is ready" ready_or_ended up
    runs up || fail "isthmus up has ended: $(tail -n 3 "$work/up.log")"
}

# is_ready: every process of $set has been ready.
is_ready() {
    [ -f "$set/run.json" ] && run_json 'd["ready"]'
}

ready_or_ended() {
    ! runs "$1" || is_ready
}

# run_json EXPRESSION [NAME=VALUE...]: of what runs now.
run_json() {
    json "$@" <"$set/run.json"
}

# lab ARGUMENT...: a fault in what runs in $set.
lab() {
    isthmus lab "$set" "$@"
}

# take_down WHO@REGION: keeps these processes down, and waits until they have ended: what is killed
# may write to its disk for a moment.
take_down() {
    lab down "$1" >/dev/null
    within 30 "$1 is down" are_down "${1%@*}" "${1#*@}"
}

# are_down WHO REGION: run.json has no process of these.
are_down() {
    run_json 'not any(p["pid"] for r in [d["regions"][region]] for p in [{**r["nats"], "name": "nats"}, *r["agents"], *r["gateways"]]
        if who in ("all", p["name"], p["name"].split("-")[0] + "s"))' who="$1" region="$2"
}

# door REGION [AGENT]: where applications reach an agent of the region, the first by default (0).
door() {
    run_json 'd["regions"][r]["agents"][int(n)]["http"]' r="$1" n="${2:-0}"
}

# admin REGION [AGENT]: that agent's admin listener.
admin() {
    run_json 'd["regions"][r]["agents"][int(n)]["admin"]' r="$1" n="${2:-0}"
}

# gateway_admin REGION [GATEWAY]: a gateway's admin listener.
gateway_admin() {
    run_json 'd["regions"][r]["gateways"][int(n)]["admin"]' r="$1" n="${2:-0}"
}

# nats_url REGION: the region's NATS server.
nats_url() {
    run_json 'd["regions"][r]["nats"]["url"]' r="$1"
}

# request ARGUMENT...: curl; the body in $work/body, the headers in $work/headers, the status on standard output.
request() {
    curl --silent --show-error --max-time 60 --output "$work/body" --dump-header "$work/headers" --write-out '%{http_code}' "$@"
}

# header NAME: of the last request.
header() {
    tr -d '\r' <"$work/headers" | sed -n "s/^$1: //Ip"
}

# free_port: $free is a port that nobody else is given: of a block, below the ports of outgoing connections, that is held while this script
# runs. Rust tests and isthmus up --port-base auto keep to the same blocks.
free_port() {
    if [ -z "${block:-}" ]; then
        start ports "$python" -c '
import os, socket, time
for step in range(87):
    guard = socket.socket()
    try:
        guard.bind(("127.0.0.1", 10240 + (os.getpid() + step) % 87 * 256))
        guard.listen()
    except OSError:
        continue
    print(guard.getsockname()[1], flush=True)
    while True:
        time.sleep(3600)'
        within 10 "a block of ports is free" test -s "$work/ports.log"
        block=$(cat "$work/ports.log")
    fi
    block=$((block + 1))
    free=$block
}

# receiver: a receiver of traces that nobody here wrote (rotel): over gRPC at port $grpc, what it gets in $work/receiver.log.
receiver() {
    local rotel http
    rotel=$("$python" -c 'import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), "rotel-agent"))')
    free_port
    grpc=$free
    free_port
    http=$free
    start receiver "$rotel" start --otlp-grpc-endpoint "127.0.0.1:$grpc" --otlp-http-endpoint "127.0.0.1:$http" \
        --debug-log traces --debug-log-verbosity detailed --exporter blackhole
    within 20 "the receiver runs" grep -q "Starting Rotel" "$work/receiver.log"
}

# code: the stable code of the problem that the last request was answered with.
code() {
    json 'd["code"]' <"$work/body"
}

# nkey NAME: a NATS user: its seed in $work/NAME.nk, its public nkey in $work/NAME.nkey.
nkey() {
    openssl genpkey -algorithm ed25519 -out "$work/$1.pem"
    "$python" - "$work/$1" <<'NKEY'
import base64, binascii, pathlib, subprocess, sys

def raw(*which):
    return subprocess.check_output(["openssl", "pkey", "-in", sys.argv[1] + ".pem", "-outform", "DER", *which])[-32:]

def encoded(data):
    return base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")

user = 20 << 3
pathlib.Path(sys.argv[1] + ".nk").write_text(encoded(bytes([18 << 3 | user >> 5, (user & 31) << 3]) + raw()) + "\n")
pathlib.Path(sys.argv[1] + ".nkey").write_text(encoded(bytes([user]) + raw("-pubout")))
NKEY
}

# nats_certificate: of the NATS servers of this machine, in $work/nats; the CA that vouches for it is made the first time, in $work/nats/ca.pem.
nats_certificate() {
    if mkdir "$work/nats" 2>/dev/null; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/nats/ca.key" -out "$work/nats/ca.pem" -days 2 -subj /CN=nats 2>/dev/null
    fi
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/nats/server.key" -out "$work/nats/server.csr" -subj /CN=nats 2>/dev/null
    openssl x509 -req -in "$work/nats/server.csr" -CA "$work/nats/ca.pem" -CAkey "$work/nats/ca.key" -CAcreateserial -CAserial "$work/nats/serial" -days 2 \
        -out "$work/nats/server.crt" -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=clientAuth,serverAuth\nkeyUsage=digitalSignature\n') 2>/dev/null
}

# production_nats FOLDER REGION OTHER...: the one NATS server of a region as configs/production has it, for these other regions; its certificate is in FOLDER.
production_nats() {
    local folder=$1 region=$2 other others=()
    for other in "${@:3}"; do others+=("\"isthmus.shop.$region.log.*.*.$other\","); done
    sed '/^cluster {/,/^}/d; s/^ *"isthmus.shop.eu-west.log.\*.\*.eu-central".*/OTHERS/' "$root/configs/production/nats.conf" |
        sed "s|nats/server|$folder/server|; s/eu-west/$region/g; s/OTHERS/${others[*]}/; s/\\\$SYSTEM_NKEY/$(cat "$work/system.nkey")/
            s/\\\$OPERATOR_NKEY/$(cat "$work/operator.nkey")/; s/\\\$AGENT_NKEY/$(cat "$work/agent.nkey")/; s/\\\$GATEWAY_NKEY/$(cat "$work/gateway.nkey")/"
}

# region_init REGION NATS NAME...: an operator makes what the region's NATS must hold for these processes.
region_init() {
    local names=() name
    for name in "${@:3}"; do names+=(--process "$name"); done
    ISTHMUS_NATS__SERVERS="[\"$2\"]" isthmus region init --settings "$set/$1/gateway.yaml" --credentials "$work/operator.nk" "${names[@]}" >/dev/null
}

# nkeys: those of all users of configs/production/nats.conf; the tests' regions have the same.
nkeys() {
    local user
    for user in operator agent gateway system; do nkey "$user"; done
}
