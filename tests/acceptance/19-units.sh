#!/usr/bin/env bash
# The units at work: a copy of this machine, in namespaces of its own and with systemd as its first process, is installed and upgraded by the steps of
# docs/operations/install.md and upgrade.md. What is written there is lost with it.
. "$(dirname "$0")/lib.sh"

# A binary of a machine; systemd is not on every path.
systemd=/lib/systemd/systemd
for needed in unshare nsenter setpriv pivot_root ip systemctl "$systemd"; do
    if ! command -v "$needed" >/dev/null; then
        say "SKIPPED: without $needed nothing of running units can be shown"
        exit 0
    fi
done
if [ "$(id -u)" != 0 ] || ! findmnt --types cgroup2 >/dev/null; then
    say "SKIPPED: a machine in namespaces takes the rights of root, and control groups"
    exit 0
fi

# What the machine gets: a release with the programs of this build; NATS; and settings.
mkdir -p "$work/files/etc/nats" "$work/machine"
archive=$("$root/tools/pack" "$binaries" "$work/files")
(cd "$work/files" && sha256sum --check --quiet "$archive.sha256")
release=$(basename "$archive" .tar.gz)
rm -r "${work:?}/files/$release"
cp "$ISTHMUS_NATS_SERVER" "$work/files/nats-server"
nkeys
nats_certificate
set=$work/set
isthmus init "$set" --set shop --regions eu-west >/dev/null
production_nats /etc/nats eu-west >"$work/files/nats.conf"
cp -r "$set/set.yaml" "$set/trust" "$set"/eu-west/{gateway.crt,gateway.key,gateway.yaml,region-agent.yaml} "$work/files/etc/"
cp "$work/agent.nk" "$work/gateway.nk" "$work/nats/ca.pem" "$work/files/etc/nats/"
cp -r "$work/nats" "$work/files/nats"
sed -i 's|^set: .*|set: set.yaml|; s|^nats: .*|nats: { servers: ["nats://127.0.0.1:4222"], credentials: nats/agent.nk, ca: nats/ca.pem, domain: eu-west }|; s/^log: .*/log: { create: false }/
    s|^listen: .*|listen: 127.0.0.1:7110|; s|^data: .*|data: /var/lib/isthmus|' "$work/files/etc/region-agent.yaml" "$work/files/etc/gateway.yaml"
sed -i 's/agent\.nk/gateway.nk/; s/^admin: .*/admin: { listen: "127.0.0.1:7115" }/' "$work/files/etc/gateway.yaml"
sed -i 's/^admin: .*/admin: { listen: "127.0.0.1:7111" }/' "$work/files/etc/region-agent.yaml"
cat >"$work/files/nats-server.service" <<'UNIT'
[Unit]
Description=NATS of eu-west
[Service]
ExecStart=/usr/local/bin/nats-server -c /etc/nats.conf
UNIT

# first FOLDER FILES: becomes the first process of a machine that has what this one has on its disk, of which it changes a copy in memory. Nothing but
# loopback, no devices, no sight of other processes; the kernel's settings can only be read, and nobody there may load modules or set the clock.
cat >"$work/first" <<'FIRST'
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs -o mode=755 machine "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for node in null zero full random urandom tty; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
for folder in run tmp mnt var/tmp var/log; do mount -t tmpfs tmpfs "$folder"; done
mkdir mnt/files run/old
mount --bind "$2" mnt/files
# Of the services of this machine none.
rm -rf etc/systemd/system etc/isthmus var/lib/isthmus
mkdir etc/systemd/system
ip link set lo up
pivot_root . run/old
umount -l /run/old
echo "the machine is made"
exec env -i container=isthmus "ACCEPTANCE_SCRIPT=${ACCEPTANCE_SCRIPT:-}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-sys_boot,-syslog "$3" --system --unit=basic.target --log-target=console --show-status=no
FIRST
# own GROUP COMMAND...: runs it in a control group of its own, and ends everything of it when told to.
cat >"$work/own" <<'OWN'
set -euo pipefail
group=$1
shift
mkdir "$group"
end() {
    trap '' TERM
    while kill -0 "$made" 2>/dev/null; do
        pkill -KILL -P "$made" || kill -KILL "$made"
        wait "$made" || true
    done
    find "$group" -depth -type d -exec rmdir {} \;
}
trap 'early=1' TERM
(echo "$BASHPID" >"$group/cgroup.procs" && exec setpriv --pdeathsig KILL "$@") &
made=$!
trap 'end; exit 0' TERM
[ -z "${early:-}" ] || kill -TERM "$$"
wait "$made" || true
end
OWN
own_group=$(findmnt --types cgroup2 --first-only --noheadings --output TARGET)/isthmus-acceptance.$$
start machine bash "$work/own" "$own_group" unshare --fork --pid --mount --uts --ipc --net --cgroup --kill-child bash "$work/first" "$work/machine" "$work/files" "$systemd"

# on COMMAND...: runs it on the machine.
on() {
    nsenter --target "$first" --mount --uts --ipc --net --pid --cgroup --root --wd env -i HOME=/tmp PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
# is_up: the machine's first process is systemd, and it has started what it had to.
is_up() {
    first=$(pgrep -P "$(pgrep -P "${pids[machine]}")") && [ "$(cat "/proc/$first/comm")" = systemd ] && [[ "$(on systemctl is-system-running)" =~ ^(running|degraded)$ ]]
}
up_or_ended() {
    is_up || ! runs machine
}
within 30 "the machine is up" up_or_ended
if ! runs machine; then
    ! grep -q "the machine is made" "$work/machine.log" || fail "the machine was made, and has ended: $(tail -n 3 "$work/machine.log")"
    say "SKIPPED: no machine can be made here: $(tail -n 1 "$work/machine.log")"
    exit 0
fi
# property UNIT NAME: what systemd knows of a unit.
property() {
    on systemctl show --property "$2" --value "$1"
}

say "install.md"
cd_files() {
    on sh -ec "cd /mnt/files; $1"
}
cd_files "tar -C /tmp -xzf $release.tar.gz && install -m 0755 /tmp/$release/bin/* nats-server /usr/local/bin/ && cp nats.conf /etc/ && cp -r nats /etc/ && cp nats-server.service /etc/systemd/system/"
on id isthmus >/dev/null 2>&1 || on useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin isthmus
cd_files "cp -r etc /etc/isthmus && chown -R root:isthmus /etc/isthmus && chmod -R u=rwX,g=rX,o= /etc/isthmus"
on isthmus config check /etc/isthmus/gateway.yaml >/dev/null
on isthmus config check /etc/isthmus/region-agent.yaml >/dev/null
on sh -ec "cp /tmp/$release/configs/systemd/*.service /etc/systemd/system/"
on systemctl daemon-reload
on systemctl enable --quiet --now --no-block isthmus-region-agent isthmus-gateway

say "units wait for their NATS, and say what they wait for"
says() {
    [[ "$(property "$1" StatusText)" =~ $2 ]]
}
within 20 "the gateway waits for NATS" says isthmus-gateway "connecting to NATS"
on systemctl start nats-server
within 20 "the agent waits for its streams" says isthmus-region-agent "isthmus region init"
same "an agent that waits" "$(property isthmus-region-agent ActiveState)" activating
on tee /tmp/operator.nk <"$work/operator.nk" >/dev/null
on isthmus region init --settings /etc/isthmus/gateway.yaml --credentials /tmp/operator.nk --process agent-1 --process gateway-1 >/dev/null 2>"$work/init.txt"
are() {
    [ "$(property isthmus-region-agent ActiveState) $(property isthmus-gateway ActiveState)" = "$1 $1" ]
}
within 30 "both units are ready" are active
ready() {
    on sh -c 'curl -fs http://127.0.0.1:7111/readyz/write && curl -fs http://127.0.0.1:7115/readyz/write'
}
within 30 "both processes are ready" ready
status() {
    on systemctl status --no-pager isthmus-gateway >"$work/status.txt" && grep -q "takes writes" "$work/status.txt"
}
within 10 "the unit says that it takes writes" status
on isthmus kv put carts/alice apples --via http://127.0.0.1:7110 >/dev/null
well() {
    on isthmus doctor --via http://127.0.0.1:7111 --via http://127.0.0.1:7115 --monitor http://127.0.0.1:8222 --json >"$work/findings.json" || true
    json 'd and not [f for f in d if f["verdict"] == "fail"]' <"$work/findings.json"
}
within 30 "doctor finds nothing that fails" well
same "whose the agent is" "$(on stat -c %U "/proc/$(property isthmus-region-agent MainPID)")" isthmus
same "whose its checkpoints are" "$(on stat -c %U:%a /var/lib/isthmus)" isthmus:700

say "settings are read again"
on sh -c 'echo "drain: 5s" >>/etc/isthmus/region-agent.yaml && systemctl reload isthmus-region-agent'
told() {
    on isthmus events --since 10m --kind settings_changed --via http://127.0.0.1:7111 >"$work/events.txt"
    grep -q drain "$work/events.txt"
}
within 20 "the agent has read them" told

say "a process that is stuck is killed and started again"
stuck=$(property isthmus-gateway MainPID)
on systemctl kill --kill-whom=main --signal STOP isthmus-gateway
another() {
    [ "$(property isthmus-gateway MainPID)" != "$stuck" ] && are active
}
within 40 "another gateway runs" another
same "how often the gateway was started again" "$(property isthmus-gateway NRestarts)" 1

say "upgrade.md"
cd_files "install -m 0755 /tmp/$release/bin/* /usr/local/bin/"
on systemctl restart isthmus-region-agent
on systemctl restart isthmus-gateway
within 30 "both processes are ready" ready
within 30 "doctor finds nothing that fails" well
same "what was written before" "$(on isthmus kv get carts/alice --via http://127.0.0.1:7110)" apples
on isthmus status --via http://127.0.0.1:7115 >/dev/null

say "units end in order; settings that can't work are said once"
on systemctl stop isthmus-region-agent
same "how the agent ended" "$(property isthmus-region-agent Result) $(property isthmus-region-agent ExecMainStatus)" "success 0"
on sh -c 'echo "drian: 5s" >>/etc/isthmus/region-agent.yaml'
expect_fail on systemctl start isthmus-region-agent
same "what is made of settings that can't work" "$(property isthmus-region-agent ActiveState) $(property isthmus-region-agent ExecMainStatus) $(property isthmus-region-agent NRestarts)" "failed 64 0"
