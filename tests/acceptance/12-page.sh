#!/usr/bin/env bash
# The page of a gateway in Chromium: it says what /v1/status says, a cut link turns red and back, and the lag that it shows grows by a second
# each second whatever stands still. SCREENSHOTS=FOLDER keeps its pictures.
. "$(dirname "$0")/lib.sh"

code=0
chromium=$("$root/tools/chromium") || code=$?
if [ "$code" -eq 3 ]; then
    say "SKIPPED: without Chromium and Node.js nothing of this can be shown"
    exit 0
fi
[ "$code" -eq 0 ] || fail "tools/chromium ended with $code"
regions eu-west,us-east,ap-south --rtt 80ms

say "the page comes with a policy that lets it load nothing else"
same "the page" "$(request "$(gateway_admin eu-west)/")" 200
case "$(header content-security-policy)" in
    "default-src 'none'; script-src 'self';"*) ;;
    *) fail "no such policy: $(cat "$work/headers")" ;;
esac
expect_fail curl -fsS "$(admin eu-west)/"

say "every region is written in, as with real traffic"
write() {
    local number=0
    while :; do
        number=$((number + 1))
        for region in eu-west us-east ap-south; do
            curl -s -o /dev/null --max-time 2 -X PUT --data "$number" "$(door "$region" 1)/v1/kv/shop/$region-$((number % 100))" || true
        done
        sleep 0.2
    done
}
start traffic write

test_page() {
    ISTHMUS_SET=$1 CHROMIUM=$chromium SCREENSHOTS=${SCREENSHOTS:+$(realpath "$SCREENSHOTS")} HOME=$work node --test --test-reporter spec "$root/tests/page/page.test.mjs"
}
say "its words stand whatever a region tells of itself"
node --test "$root/tests/page/text.test.mjs" >"$work/text.log" 2>&1 || fail "$(cat "$work/text.log")"
expect_fail test_page "$work/nothing"
test_page "$set"
