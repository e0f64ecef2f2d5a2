#!/usr/bin/env bash
# The Terraform modules: they refuse what is wrong and make what they say; three AWS regions of an emulator and three real
# regions of this machine come, work and go. Without terraform, the provider or the emulator the rest is done.
# seconds: 1500
. "$(dirname "$0")/lib.sh"

if ! command -v terraform >/dev/null; then
    say "SKIPPED: there is no terraform on this machine"
    exit 0
fi

# Nothing of this machine's own settings of terraform, and nothing of the network.
for variable in "${!TF_@}"; do
    unset "$variable"
done
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_INPUT=0 TF_CLI_CONFIG_FILE=$work/terraform.rc
: >"$TF_CLI_CONFIG_FILE"

version=$(terraform version -json | json 'd["terraform_version"]')
if [ "$(printf '%s\n1.9\n' "$version" | sort -V | head -n 1)" != 1.9 ]; then
    say "SKIPPED: terraform $version is older than 1.9"
    exit 0
fi

# mirror: the root of a folder of providers that has hashicorp/aws.
mirror() {
    local found
    found=$(find "${TERRAFORM_PROVIDERS:-/}" -xdev \( -path /proc -o -path /sys -o -name .terraform \) -prune -o -type f -name 'terraform-provider-aws*' \
        -path '*/registry.terraform.io/hashicorp/aws/*' -print -quit 2>/dev/null || true)
    echo "${found%%/registry.terraform.io/*}"
}
providers=$(mirror)
# Isthmus takes a variable of this name for a setting.
unset TERRAFORM_PROVIDERS
cat >"$TF_CLI_CONFIG_FILE" <<CONFIG
provider_installation {
  filesystem_mirror {
    path = "${providers:-$work/no-providers}"
  }
}
CONFIG

# A tree of its own, so that nothing of terraform's stays in the checkout.
mkdir "$work/tree"
cp -r "$root/terraform" "$root/configs" "$work/tree/"
find "$work/tree" \( -name .terraform -o -name '.terraform.lock.hcl' -o -name '*.tfstate*' \) -prune -exec rm -rf {} +
modules=$work/tree/terraform/modules
examples=$work/tree/terraform/examples

# tf FOLDER ARGUMENT...: terraform there, its output in the log of its own.
tf() {
    local folder=$1
    shift
    terraform -chdir="$folder" "$@" -no-color >"$work/terraform.log" 2>&1
}
# checked FOLDER: it can be used, and its tests pass, where it has some.
checked() {
    tf "$1" init || fail "$1: init: $(tail -n 20 "$work/terraform.log")"
    tf "$1" validate || fail "$1: validate: $(tail -n 20 "$work/terraform.log")"
    [ ! -d "$1/tests" ] || tested "$1"
}
# tested FOLDER [ARGUMENT...]
tested() {
    tf "$1" test "${@:2}" || fail "$1: test: $(tail -n 40 "$work/terraform.log")"
}
# planted MODULE TESTS FILE EXPRESSION: a copy of the module, wrong by one edit; these tests of it must fail.
planted() {
    cp -r "$modules/$1" "$modules/planted"
    sed -i "$4" "$modules/planted/$3"
    ! cmp -s "$modules/$1/$3" "$modules/planted/$3" || fail "nothing is planted in $3"
    expect_fail tested "$modules/planted" "-filter=tests/$2.tftest.hcl"
    grep -q "Test assertion failed\|Missing expected failure" "$work/terraform.log" || fail "$1 failed otherwise: $(cat "$work/terraform.log")"
    rm -rf "$modules/planted"
}

say "form"
terraform fmt -check -recursive "$root/terraform" >"$work/fmt.txt" || fail "terraform fmt would change $(cat "$work/fmt.txt")"
mkdir "$work/bad-form"
printf 'locals {\na=1\n}\n' >"$work/bad-form/main.tf"
expect_fail terraform fmt -check "$work/bad-form"

say "what needs no provider"
checked "$modules/region-set"
planted region-set set variables.tf 's/cidrsubnet(join.* !=$/1 !=/; s/^ *cidrsubnet(join.*, 0, 0),$/2,/'
checked "$modules/region-local"
planted region-local local variables.tf 's/length(distinct(var.regions)) == length(var.regions)/true/'
checked "$examples/local"

say "three regions of this machine: apply, write in one, read in another, destroy"
# free_base: the first of 256 ports that nobody listens on.
free_base() {
    "$python" - <<'PYTHON'
import socket
for base in range(32000, 10240, -256):
    try:
        for port in range(base, base + 256):
            with socket.socket() as one:
                one.bind(("127.0.0.1", port))
        print(base)
        break
    except OSError:
        continue
PYTHON
}
local_arguments=(-var "folder=$work/local" -var "port_base=$(free_base)" -var "isthmus=$binaries/isthmus")
mkdir "$work/local"
echo kept >"$work/local/mine"
expect_fail tf "$examples/local" apply -auto-approve "${local_arguments[@]}"
same "what was there" "$(ls "$work/local")" mine
rm -r "$work/local"

tf "$examples/local" apply -auto-approve "${local_arguments[@]}" || fail "apply: $(tail -n 20 "$work/terraform.log")"
tf "$examples/local" plan -detailed-exitcode "${local_arguments[@]}" || fail "the plan after an apply is not empty: $(tail -n 20 "$work/terraform.log")"
terraform -chdir="$examples/local" output -json >"$work/local.json"
local_door() {
    json 'd["doors"]["value"][r][0]' r="$1" <"$work/local.json"
}
same "the write in eu-west" "$(request -X PUT --data apples "$(local_door eu-west)/v1/kv/carts/17")" 200
session=$(header Isthmus-Session)
same "the read in ap-south" "$(request -H "Isthmus-Session: $session" "$(local_door ap-south)/v1/kv/carts/17?timeout=50s")" 200
same "what was read" "$(cat "$work/body")" apples
read -r -a processes < <(json '" ".join(str(p["pid"]) for r in d["regions"].values() for p in [r["nats"]] + r["agents"] + r["gateways"])' <"$work/local/set/run.json")
processes+=("$(cut -d ' ' -f 1 "$work/local/process")")
same "the number of processes" "${#processes[@]}" 16
all_gone() {
    local pid
    for pid in "${processes[@]}"; do
        ended "$pid" || return 1
    done
}
expect_fail all_gone
echo kept >"$work/local/mine"
tf "$examples/local" destroy -auto-approve "${local_arguments[@]}" || fail "destroy: $(tail -n 20 "$work/terraform.log")"
all_gone || fail "processes are left"
same "what is left" "$(ls "$work/local")" mine
expect_fail request "$(local_door eu-west)/v1/kv/carts/17"

if [ -z "$providers" ]; then
    say "SKIPPED: the modules for AWS, since no folder of this machine has the provider hashicorp/aws (TERRAFORM_PROVIDERS)"
    exit 0
fi

say "the module of an AWS region: validate, test with a provider that does nothing"
checked "$modules/region-aws"
planted region-aws behaviour security.tf 's/port = var.link_port, cidr = cidr/port = var.link_port, cidr = "0.0.0.0\/0"/'
checked "$examples/one-region"
checked "$examples/three-regions"

say "an emulator of AWS"
if ! programs=$("$root/tools/terraform-venv"); then
    say "SKIPPED: apply and destroy against an emulator, and checkov: neither can be installed here"
    exit 0
fi
free_port
port=$free
start emulator "$programs/python3" "$root/tools/terraform-emulator" "$port"
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=$work/aws.config AWS_SHARED_CREDENTIALS_FILE=$work/aws.credentials
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION
within 60 "the emulator answers" curl -fsS "$AWS_ENDPOINT_URL/moto-api/"
isthmus init "$work/certificates" --regions eu-west,eu-central,us-east --set shop --trust-domain example.org >/dev/null
nats_certificate
three=$examples/three-regions
"$programs/python3" "$root/tools/terraform-seed" "$AWS_ENDPOINT_URL" "$work/certificates" "$work/nats" "$three/terraform.tfvars.json" "$work/secrets"

say "three AWS regions: apply, and a plan that is empty"
tf "$three" apply -auto-approve || fail "apply: $(grep -A 12 Error: "$work/terraform.log" | head -n 60)"
expect_fail tf "$three" plan -refresh=false -detailed-exitcode -var 'tags={ team = "shop" }'
tf "$three" plan -detailed-exitcode || fail "the plan after an apply is not empty: $(grep -A 12 '^  # ' "$work/terraform.log" | head -n 60)"
terraform -chdir="$three" output -json >"$work/three.json"

say "no secret in the state, in the plan or in what instances begin with"
terraform -chdir="$three" show -json >"$work/shown.json"
aws() {
    "$programs/aws" --output json "$@"
}
declare -A aws_regions=([eu-west]=eu-west-1 [eu-central]=eu-central-1 [us-east]=us-east-1)
mkdir "$work/begun"
for region in "${!aws_regions[@]}"; do
    for role in agent gateway; do
        aws --region "${aws_regions[$region]}" ec2 describe-launch-template-versions --versions "\$Latest" >"$work/templates.json"
        json '[v["LaunchTemplateData"]["UserData"] for v in d["LaunchTemplateVersions"] if f"-{role}-" in v["LaunchTemplateName"]][0]' \
            role="$role" <"$work/templates.json" | base64 -d | gzip -d >"$work/begun/$region-$role"
        grep -q '^#cloud-config$' "$work/begun/$region-$role" || fail "what a $role of $region begins with is no cloud-config"
    done
done
# clean FILE...: none of the secrets is in them, whole or by a line, and no key or seed at all.
clean() {
    local secret line
    for secret in "$work"/secrets/*; do
        while read -r line; do
            case $line in
                "" | -----*) continue ;;
            esac
            # The last line of a certificate may be four characters, which are found by chance.
            [ "${#line}" -ge 16 ] || continue
            if grep -lF -- "$line" "$@"; then
                echo "holds a line of $secret"
                return 1
            fi
        done <"$secret"
    done
    ! grep -lE -- 'PRIVATE KEY|BEGIN CERTIFICATE|\bS[UAON][A-Z2-7]{56}\b' "$@"
}
clean "$three/terraform.tfstate" "$work/shown.json" "$work"/begun/* "$three/terraform.tfvars.json" || fail "a secret is where it must not be"
expect_fail clean "$work/secrets/eu-west-link-key"
expect_fail clean "$work/secrets/eu-west-agent-nats"

say "what instances begin with: settings that Isthmus and NATS take, with the secrets that the instance fetches itself"
# unpack REGION INSTANCE: its files as they were rendered, below a folder in the place of /.
unpack() {
    "$python" - "$work/three.json" "$1" "$2" "$work/host/$1-$2" <<'PYTHON'
import json, pathlib, sys
outputs, region, instance, folder = sys.argv[1:]
for path, text in json.load(open(outputs))["files"]["value"][region][instance].items():
    file = pathlib.Path(folder + path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
PYTHON
}
fetch() {
    PATH=$programs:$PATH "$modules/region-aws/instance/fetch-secrets" "$1/etc/isthmus/instance.env" "$1/etc/isthmus/secrets.list"
}
declare -A settings=([agent]=region-agent.yaml [gateway]=gateway.yaml)
for region in "${!aws_regions[@]}"; do
    for role in agent gateway; do
        unpack "$region" "$role"
        host=$work/host/$region-$role
        sed -i "s|^OWNER=.*|OWNER=$(id -un)|; s|^FOLDER=|&$host|" "$host/etc/isthmus/instance.env"
        fetch "$host" >"$work/fetch.txt" 2>&1 || fail "$(cat "$work/fetch.txt")"
        isthmus config check "$host/etc/isthmus/${settings[$role]}" >"$work/check.txt" 2>&1 || fail "$region $role: $(cat "$work/check.txt")"
    done
    isthmus config check "$work/host/$region-gateway/etc/isthmus/set.yaml" >/dev/null
    for role in agent gateway; do
        cmp "$work/host/$region-$role/etc/isthmus/set.yaml" <(terraform -chdir="$three" output -raw set_yaml)
    done
done
host=$work/host/eu-west-gateway/etc/isthmus
mv "$host/trust/us-east.pem" "$work/us-east.pem"
expect_fail isthmus config check "$host/gateway.yaml"
mv "$work/us-east.pem" "$host/trust/us-east.pem"
unpack eu-west nats-1
host=$work/host/eu-west-nats-1
nats_conf=$host/etc/nats/nats.conf
sed -i "s|^OWNER=.*|OWNER=$(id -un)|; s|^FOLDER=|&$host|" "$host/etc/isthmus/instance.env"
fetch "$host" >"$work/fetch.txt" 2>&1 || fail "$(cat "$work/fetch.txt")"
sed -i "s|_file: /etc/nats|_file: $host/etc/nats|" "$nats_conf"
"$ISTHMUS_NATS_SERVER" -t -c "$nats_conf" >"$work/nats.txt" 2>&1 || fail "$(cat "$work/nats.txt")"
sed 's/sync_interval/sinc_interval/' "$nats_conf" >"$work/bad-nats.conf"
expect_fail "$ISTHMUS_NATS_SERVER" -t -c "$work/bad-nats.conf"

say "rights in NATS are those of configs/production"
# rights FILE: its accounts, without comments and the form of white space; nkeys by the order in which they stand.
rights() {
    sed -n 's/#.*//; /^accounts/,$p' "$1" | sed -E 's/nkey: [^ ]+/nkey/' | tr ',\n' '  ' | tr -s ' ' | sed 's/\[ /[/g; s/ \]/]/g'
}
same "the accounts" "$(rights "$nats_conf")" "$(rights "$root/configs/production/nats.conf")"
sed 's/CONSUMER.INFO/CONSUMER.CREATE/' "$nats_conf" >"$work/more-rights.conf"
expect_fail same "the accounts" "$(rights "$work/more-rights.conf")" "$(rights "$root/configs/production/nats.conf")"

say "secrets on an instance: closed, replaced when they change and only then"
host=$work/host/eu-west-gateway
key=$host/etc/isthmus/tls/gateway.key
same "the mode of a key" "$(stat -c %a "$key")" 600
same "the mode of its folder" "$(stat -c %a "${key%/*}")" 700
# holds REGION: the file is that region's key, white space at the end aside.
holds() {
    [ "$(cat "$key")" = "$(cat "$work/certificates/$1/gateway.key")" ] || fail "the file is not the key of $1"
}
holds eu-west
before=$(stat -c '%i %Y' "$key")
fetch "$host" >"$work/fetch.txt"
same "what a second look says" "$(cat "$work/fetch.txt")" ""
same "the file after it" "$(stat -c '%i %Y' "$key")" "$before"
aws --region eu-west-1 secretsmanager put-secret-value --secret-id isthmus/eu-west/link-key \
    --secret-string "$(cat "$work/certificates/us-east/gateway.key")" >/dev/null
fetch "$host" >"$work/fetch.txt"
same "what a look after the change says" "$(cat "$work/fetch.txt")" "$key has changed"
holds us-east
aws --region eu-west-1 secretsmanager delete-secret --secret-id isthmus/eu-west/link-key --force-delete-without-recovery >/dev/null
expect_fail fetch "$host"
holds us-east

say "an archive is unpacked only when it is the one that was asked for"
install_archive() {
    PATH=$programs:$PATH AWS_DEFAULT_REGION=eu-west-1 "$modules/region-aws/instance/install-archive" shop-archives-eu-west nats.tar.gz "$1" "$work/$2"
}
digest=$(json 'd["regions"]["eu-west"]["artifacts"]["nats"]["sha256"]' <"$three/terraform.tfvars.json")
install_archive "$digest" unpacked
[ -x "$work/unpacked/nats-server-1.0/nats-server" ] || fail "the archive is not unpacked"
expect_fail install_archive "${digest/?/0}0" refused
[ ! -e "$work/refused" ] || fail "a strange archive is unpacked"

say "an instance: in its group once its process is ready, drained before it goes"
mkdir "$work/stand-ins" "$work/metadata"
cat >"$work/stand-ins/aws" <<'STAND_IN'
#!/bin/sh
echo "aws $*" >>"$DONE"
STAND_IN
cat >"$work/stand-ins/systemctl" <<'STAND_IN'
#!/bin/sh
echo "systemctl $*" >>"$DONE"
STAND_IN
chmod +x "$work"/stand-ins/*
cat >"$work/metadata.py" <<'PYTHON'
import http.server, pathlib, sys

folder = pathlib.Path(sys.argv[1])

class Metadata(http.server.BaseHTTPRequestHandler):
    def answer(self, code, text=""):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self):
        self.answer(200 if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else 400, "token")

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        known = (folder / name).exists()
        if self.path != "/readyz/read" and self.headers.get("X-aws-ec2-metadata-token") != "token":
            return self.answer(401)
        self.answer(200 if known else 503, (folder / name).read_text() if known else "")

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
(folder / "port").write_text(str(server.server_port))
server.serve_forever()
PYTHON
start metadata "$python" "$work/metadata.py" "$work/metadata"
within 10 "the metadata are served" test -s "$work/metadata/port"
metadata=http://127.0.0.1:$(cat "$work/metadata/port")
echo i-0123456789abcdef0 >"$work/metadata/instance-id"
echo InService >"$work/metadata/target-lifecycle-state"
sed -i "s|^ADMIN=.*|ADMIN=$metadata|; s|^NAME_FILE=|&$host|" "$host/etc/isthmus/instance.env"
echo ISTHMUS_NAME=gateway-2 >"$host/etc/isthmus/name.env"
lifecycle() {
    PATH=$work/stand-ins:$PATH DONE=$work/$1.done AWS_EC2_METADATA_SERVICE_ENDPOINT=$metadata \
        exec "$modules/region-aws/instance/lifecycle" "$1" "$host/etc/isthmus/instance.env"
}
completed() {
    echo "aws autoscaling complete-lifecycle-action --auto-scaling-group-name isthmus-shop-eu-west-gateway --lifecycle-hook-name $1" \
        "--instance-id i-0123456789abcdef0 --lifecycle-action-result CONTINUE"
}
start ready lifecycle ready
start drain lifecycle drain
expect_fail wait_until 3 ended "${pids[ready]}"
[ ! -e "$work/ready.done" ] || fail "an instance is let in whose process is not ready"
: >"$work/metadata/read"
ends ready 30 0
same "what is done once it is ready" "$(cat "$work/ready.done")" "$(completed ready)"
runs drain || fail "an instance in service is drained"
[ ! -e "$work/drain.done" ] || fail "an instance in service is drained"
echo Terminated >"$work/metadata/target-lifecycle-state"
ends drain 30 0
same "what is done before it goes" "$(sed 's/ --key .*//' "$work/drain.done")" "systemctl stop isthmus-gateway
aws dynamodb delete-item --table-name isthmus-shop-eu-west-names
$(completed drain)"

say "each process has a name of its own, of those that the operator made consumers for"
# name VERB INSTANCE: what the instance's script does, and its name.
name() {
    echo "$2" >"$work/metadata/instance-id"
    PATH=$programs:$PATH AWS_EC2_METADATA_SERVICE_ENDPOINT=$metadata "$modules/region-aws/instance/process-name" \
        "$1" "$host/etc/isthmus/instance.env" "$work/name-of-$2" && cat "$work/name-of-$2"
}
same "the first" "$(name take i-1)" ISTHMUS_NAME=gateway-1
same "the second" "$(name take i-2)" ISTHMUS_NAME=gateway-2
same "the first, again" "$(name take i-1)" ISTHMUS_NAME=gateway-1
name leave i-1 >/dev/null
same "the name that was given back" "$(name take i-3)" ISTHMUS_NAME=gateway-1
name keep i-2 >/dev/null
aws --region eu-west-1 dynamodb update-item --table-name isthmus-shop-eu-west-names --key '{"name": {"S": "gateway-2"}}' \
    --update-expression 'SET #until = :past' --expression-attribute-names '{"#until": "until"}' \
    --expression-attribute-values '{":past": {"N": "1"}}' >/dev/null
same "the name that nobody has kept" "$(name take i-4)" ISTHMUS_NAME=gateway-2
expect_fail name keep i-2
same "the third" "$(name take i-5)" ISTHMUS_NAME=gateway-3
same "the fourth" "$(name take i-6)" ISTHMUS_NAME=gateway-4
expect_fail name take i-7

say "destroy leaves the snapshots of NATS, and nothing else"
tf "$three" destroy -refresh=false -auto-approve || fail "destroy: $(grep -A 12 Error: "$work/terraform.log" | head -n 60)"
same "what the state holds" "$(terraform -chdir="$three" state list)" ""
for region in "${aws_regions[@]}"; do
    same "volumes in $region" "$(aws --region "$region" ec2 describe-volumes --filters Name=tag-key,Values=isthmus:set | json 'len(d["Volumes"])')" 0
    same "load balancers in $region" "$(aws --region "$region" elbv2 describe-load-balancers | json 'len(d["LoadBalancers"])')" 0
    same "groups in $region" "$(aws --region "$region" autoscaling describe-auto-scaling-groups | json 'len(d["AutoScalingGroups"])')" 0
    same "snapshots in $region" "$(aws --region "$region" ec2 describe-snapshots --filters Name=tag-key,Values=isthmus:set | json 'len(d["Snapshots"])')" 3
done

say "checkov"
# faultless FOLDER: checkov finds nothing that is not excepted with a reason.
faultless() {
    "$programs/checkov" --directory "$1" --framework terraform --skip-download --quiet --compact >"$work/checkov.log" 2>&1
}
faultless "$root/terraform" || fail "$(grep -A 3 'FAILED\|Check:' "$work/checkov.log" | head -n 60)"
! grep -rnE 'checkov:skip=[A-Z0-9_]+ *(:? *)$' "$root/terraform" || fail "an exception has no reason"
cp -r "$modules/region-aws" "$work/open"
sed -i 's/encrypted *= true/encrypted = false/' "$work/open/nats.tf"
expect_fail faultless "$work/open"
