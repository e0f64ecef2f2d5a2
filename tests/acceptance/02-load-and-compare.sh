#!/usr/bin/env bash
# A CSV file loaded in one region is equal in the third one, and a single missing key is seen and named.
. "$(dirname "$0")/lib.sh"

"$python" - "$work/rows.csv" <<'PYTHON'
import csv, sys

with open(sys.argv[1], "w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["id", "name", "note"])
    for n in range(10_000):
        key = f"customer/{n % 9_500} ü"
        rows.writerow([key, f"Zoë “{n}” 名前", f'line one, of {n}\nline "two"'])
PYTHON

regions eu-west,us-east,ap-south --rtt 20ms
load() {
    isthmus load "$1" --dir "$set" --region eu-west --bucket customers --key id
}
compare() {
    isthmus compare "$work/rows.csv" --dir "$set" --region ap-south --bucket customers --key id "$@"
}
deleted_in_ap_south() {
    [ "$(request "$(door ap-south)/v1/kv/customers/customer/77%20%C3%BC")" = 404 ]
}

say "a bad row is named by its line, and nothing is written"
printf 'id,name,note\na,b,c\nd,e\n' >"$work/bad.csv"
expect 1 load "$work/bad.csv" 2>"$work/said"
grep -q 'line 3' "$work/said" || fail "the line is not named: $(cat "$work/said")"
same "the status of its first row" "$(request "$(door eu-west)/v1/kv/customers/a")" 404

say "10,000 rows arrive in region 3 as they were written"
load "$work/rows.csv" | tee "$work/loaded"
grep -q '^500 rows were replaced' "$work/loaded" || fail "the 500 repeated keys are not counted"
compare --wait 60s

say "one deleted key is seen and named"
same "the status of the delete" "$(request -X DELETE "$(door us-east)/v1/kv/customers/customer/77%20%C3%BC")" 200
within 20 "the delete is in ap-south" deleted_in_ap_south
expect 2 compare --wait 1s >"$work/said" 2>&1
grep -q 'customer/77 ü' "$work/said" || fail "the key is not named: $(cat "$work/said")"
expect_fail compare --wait 1s
