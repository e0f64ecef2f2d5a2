#!/usr/bin/env bash
# A client that moves to another region sees its own write there, or hears that it has to wait.
. "$(dirname "$0")/lib.sh"

key=v1/kv/carts/alice

regions eu-west,us-east
same "the first write" "$(request -X PUT --data old "$(door eu-west)/$key")" 200
arrived() {
    [ "$(curl -fsS "$(door us-east)/$key")" = old ]
}
within 20 "the first write is in us-east" arrived
lab cut eu-west us-east

say "a write in eu-west, and reads in us-east"
same "the second write" "$(request -X PUT --data new "$(door eu-west)/$key")" 200
session=$(header Isthmus-Session)
[ -n "$session" ] || fail "no session in the answer"
same "the value without the session" "$(curl -fsS "$(door us-east)/$key")" old
same "the status with a short timeout" "$(request -H "Isthmus-Session: $session" "$(door us-east)/$key?timeout=200ms")" 409
same "its code" "$(code)" stale
json 'd["retryable"] and d["origin"] == "eu-west" and d["distance"] == d["want"] - d["have"] > 0' <"$work/body" ||
    fail "the distance is missing: $(cat "$work/body")"
start reader curl -fsS -H "Isthmus-Session: $session" --output "$work/body" --dump-header "$work/headers" "$(door us-east)/$key?timeout=60s"
lab heal
ends reader 70 0
same "the value with the session" "$(cat "$work/body")" new
[ -n "$(header Isthmus-Session)" ] || fail "no session in the answer to a read"

say "another agent of that region honours it too, and a token that is none is refused"
same "on agent 2" "$(request -H "Isthmus-Session: $session" "$(door us-east 1)/$key?timeout=20s")" 200
same "the value there" "$(cat "$work/body")" new
same "the status of garbage" "$(request -H "Isthmus-Session: garbage" "$(door us-east)/$key")" 400
same "its code" "$(code)" invalid_session
expect_fail curl -fsS -H "Isthmus-Session: garbage" "$(door us-east)/$key"
