// The words of the page stand whatever a region tells of itself. Needs Node.js alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as text from "../../gateway/page/text.js";

const ODD = [null, undefined, 7, "x", "", [], {}, [null], [7], [[]], { a: 1 }, 1e308, -1e308, NaN, true];
const row = { origin: "a", peer: "b", state: "live", reason: null, lag_ms: 3, delay_ms: 4, needs_sync: false };

test("every value has a text", () => {
  for (const words of [text.millis, text.lag, text.seconds, text.signed, text.count, text.or, text.time]) {
    for (const odd of ODD) assert.equal(typeof words(odd), "string", `${words.name} of ${odd}`);
  }
  assert.equal(text.millis(NaN), text.NONE);
  assert.equal(text.or({}), text.NONE);
});

test("a region that tells nonsense hides none of the others", () => {
  for (const odd of ODD) {
    const told = { links: odd, members: odd, age_ms: odd, leader: odd, unreadable: odd };
    for (const regions of [odd, { a: odd, b: odd }, { a: told }, { a: { links: [odd, { peer: odd }] } }]) {
      const status = { region: "b", lag: [row, { ...row, origin: "b", peer: "a", lag_ms: odd }], regions };
      for (const shown of [status, text.agedBy(status, 5_000)]) {
        const pairs = text.pairsOf(shown);
        assert.deepEqual(pairs.map(({ name }) => name), ["a → b", "b → a"]);
        for (const pair of pairs) assert.ok(["good", "unknown", "bad"].includes(text.levelOf(pair)));
        assert.equal(typeof text.verdictOf(pairs).text, "string");
        const names = text.regionsOf(shown).map(([name]) => name);
        assert.ok(names.includes("a") && names.includes("b"));
      }
    }
  }
});
