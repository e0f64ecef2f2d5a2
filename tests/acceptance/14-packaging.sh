#!/usr/bin/env bash
# What a machine runs Isthmus with: units that systemd takes and that give the processes little, a version with its commit, completions.
. "$(dirname "$0")/lib.sh"

say "versions"
for program in isthmus isthmus-check isthmus-gateway isthmus-region-agent; do
    "$program" --version | grep -Eq "^$program [0-9]+\.[0-9]+\.[0-9]+ \((development|[0-9a-f]{12}(-changed)?)\)$" || fail "$program says $("$program" --version)"
done

say "completions"
isthmus completions bash >"$work/isthmus.bash"
# shellcheck disable=SC2016
bash -c '. "$1" && COMP_WORDS=(isthmus doc) COMP_CWORD=1 && _isthmus isthmus doc isthmus && [ "${COMPREPLY[*]}" = doctor ]' _ "$work/isthmus.bash" ||
    fail "bash does not complete isthmus doc"
for shell in zsh fish; do
    isthmus completions "$shell" | grep -q doctor || fail "nothing for $shell"
done
expect_fail isthmus completions tcsh

say "the image: built in a stage of its own, with the programs and the Rust of the workspace, and run by nobody in particular"
# image FILE: whether it is so.
image() {
    [ "$(grep -c '^FROM ' "$1")" -ge 2 ] &&
        [ "$(sed -n 's/^FROM rust:\([0-9.]*\)-.* AS build$/\1/p' "$1")" = "$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")" ] &&
        [ "$(grep -o 'target/release/[a-z-]*' "$1" | cut -d / -f 3 | sort -u | xargs)" = "isthmus isthmus-check isthmus-gateway isthmus-region-agent" ] &&
        sed '1,/^FROM debian/d' "$1" | grep -Eq '^USER [1-9][0-9]*:[1-9][0-9]*$'
}
image "$root/configs/container/Containerfile" || fail "the Containerfile is not what the workspace needs"
sed '/^USER/d' "$root/configs/container/Containerfile" >"$work/Containerfile"
expect_fail image "$work/Containerfile"

say "units"
if ! command -v systemd-analyze >/dev/null; then
    say "SKIPPED: without systemd-analyze nothing of units can be shown"
    exit 0
fi
# verify UNIT: systemd takes it, here with the binaries of this build and a user that is there.
verify() {
    sed -e "s|/usr/local/bin/|$binaries/|; s|^User=.*|User=root|; s|^Group=.*|Group=root|" "$1" >"$work/$(basename "$1")"
    systemd-analyze verify --recursive-errors=no "$work/$(basename "$1")"
}
for unit in "$root"/configs/systemd/*.service; do
    verify "$unit" >"$work/verify.txt" 2>&1 || fail "$(cat "$work/verify.txt")"
    [ ! -s "$work/verify.txt" ] || fail "$(cat "$work/verify.txt")"
    # 0 is least exposed, 10 most.
    systemd-analyze security --offline=true --threshold=15 "$unit" >"$work/security.txt" || fail "$unit: $(tail -n 3 "$work/security.txt")"
done
sed 's/^Type=notify/Type=notify\nExecStrat=1/' "$root/configs/systemd/isthmus-gateway.service" >"$work/bad.service"
bad() {
    verify "$work/bad.service" 2>&1 | grep -q . && return 1
}
expect_fail bad
