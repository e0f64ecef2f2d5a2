// Drives the page of a gateway in Chromium while three regions run.
//   ISTHMUS_SET  the folder of the set that runs, `isthmus` is on the PATH
//   CHROMIUM     the browser
//   SCREENSHOTS  a folder for two pictures

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

const { ISTHMUS_SET: set, CHROMIUM, SCREENSHOTS } = process.env;
const run = JSON.parse(readFileSync(`${set}/run.json`, "utf8"));
const [FROM, TO] = ["eu-west", "us-east"];
const PAIR = `${FROM} → ${TO}`;
const SOON = 60_000;
// As root, and without the connections of its own that a browser makes.
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

const lab = (...what) => execFileSync("isthmus", ["lab", set, ...what]);
const gateway = (region, number = 0) => run.regions[region].gateways[number];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
});
after(async () => {
  await browser?.close();
});

// The page of a gateway once it shows something; `seen` has what it asked for and complained of.
async function open(admin, { context = {}, prepare } = {}) {
  const page = await browser.newPage({ viewport: { width: 1300, height: 1340 }, ...context });
  page.setDefaultTimeout(SOON);
  const seen = { requests: [], complaints: [] };
  page.on("request", (request) => seen.requests.push(new URL(request.url())));
  page.on("console", (message) => seen.complaints.push(message.text()));
  page.on("pageerror", (error) => seen.complaints.push(error.message));
  await prepare?.(page);
  await page.goto(`${admin}/`);
  await page.waitForFunction(() => Number(document.body.dataset.updates) >= 1);
  return { page, seen };
}

const levelOf = (page, pair = PAIR) => page.locator(`#links tr[data-pair="${pair}"]`).getAttribute("data-level");
const levelIs = (page, level, pair = PAIR) =>
  page.waitForFunction(([pair, level]) => document.querySelector(`#links tr[data-pair="${pair}"]`)?.dataset.level === level, [pair, level]);
const isCurrent = (page) => page.waitForFunction(() => {
  const rows = [...document.querySelectorAll("#links tbody tr")];
  return rows.length === 6 && rows.every((row) => row.dataset.level === "good" && row.querySelector('[data-of="lag"]').textContent === "< 1 s");
});

// The cells of a table, by their names.
const cells = (page, table) => page.locator(`#${table} tbody tr`).evaluateAll((rows) =>
  rows.map((row) => Object.fromEntries([...row.cells].map((cell) => [cell.dataset.of, cell.textContent]))));

// What the page is to say, worked out here a second time.
function expected(status) {
  const none = (value, text) => (value === null || value === undefined ? "–" : text(value));
  const span = (ms) => {
    const whole = Math.round(ms / 1000);
    if (ms < 10) return `${ms.toFixed(1)} ms`;
    if (ms < 999.5) return `${ms.toFixed(0)} ms`;
    if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
    if (whole < 3600) return `${Math.trunc(whole / 60)} min ${`${whole % 60}`.padStart(2, "0")} s`;
    if (whole < 172_800) return `${Math.trunc(whole / 3600)} h ${`${Math.trunc(whole / 60) % 60}`.padStart(2, "0")} min`;
    return `${Math.trunc(whole / 86_400)} d ${Math.trunc(whole / 3600) % 24} h`;
  };
  const regions = Object.keys(status.regions).sort().map((name) => {
    const region = status.regions[name];
    const members = (role) => region.members.filter((member) => member.role === role).map((member) => member.name).join(" ") || "–";
    const told = name === status.region ? "now" : `${span(region.age_ms)} ago`;
    return { region: name, leader: region.leader ?? "–", epoch: none(region.epoch, (epoch) => `${epoch.revision}`), gateways: members("gateway"), agents: members("agent"), told };
  });
  const first = (row, index) => status.lag.findIndex((other) => other.origin === row.origin && other.peer === row.peer) === index;
  const links = status.lag.filter(first).map((row) => {
    const link = status.regions[row.origin].links.find(({ peer }) => peer === row.peer);
    const sign = { live: "●", stalled: "▲", unknown: "◆" }[row.state];
    return {
      from: row.origin, to: row.peer, state: `${sign} ${row.state}`,
      lag: none(row.lag_ms, (ms) => (ms < 1000 ? "< 1 s" : span(ms))), delay: none(row.delay_ms, span),
      backlog: none(row.backlog, (messages) => `${messages}`), runway: none(row.runway_s, (seconds) => span(seconds * 1000)),
      link: link.state, rtt: none(link.rtt_ms, span), clock: none(link.clock_offset_ms, (ms) => `${ms < 0 ? "−" : "+"}${span(Math.abs(ms))}`),
      why: row.reason ?? "",
    };
  });
  return { regions, links };
}

const statusOf = async (admin) => (await fetch(`${admin}/v1/status`)).json();

// A page that is told one status, and nothing after that.
async function openWith(status) {
  const told = `event: history\ndata: []\n\nevent: status\ndata: ${JSON.stringify({ at_ms: Date.now(), status })}\n\n`;
  const prepare = (page) => page.route("**/v1/live", (route) => route.fulfill({ contentType: "text/event-stream", body: told }));
  return open(gateway(FROM).admin, { prepare });
}

describe("the page", () => {
  test("says what /v1/status says", async () => {
    const { page: live, seen } = await open(gateway(FROM).admin);
    await isCurrent(live);
    const status = await statusOf(gateway(FROM).admin);
    // What moves from one second to the next is compared below, on one status for both.
    const still = ({ told, lag, delay, backlog, runway, rtt, clock, ...rest }) => rest;
    const shown = { regions: await cells(live, "regions"), links: await cells(live, "links") };
    const wanted = expected(status);
    for (const table of ["regions", "links"]) assert.deepEqual(shown[table].map(still), wanted[table].map(still));
    assert.equal(await live.locator("#set").textContent(), `set ${status.set}, generation ${status.generation}`);
    assert.equal(await live.locator("#teller").textContent(), `reported by ${status.name} of ${FROM}`);
    assert.equal(await live.locator("#verdict").textContent(), "All 6 pairs of regions are live");
    assert.equal(await live.locator("#charts figure").count(), 6);
    await live.locator('#events td[data-of="kind"]', { hasText: "link_up" }).first().waitFor();
    assert.deepEqual(seen.complaints, []);
    assert.ok(seen.requests.every(({ origin, protocol }) => origin === gateway(FROM).admin || protocol === "data:"), `${seen.requests}`);
    await live.close();

    const { page } = await openWith(status);
    assert.deepEqual(await cells(page, "regions"), wanted.regions);
    assert.deepEqual(await cells(page, "links"), wanted.links);
    await page.close();

    // What can't be had here: long ago, far behind, nothing known.
    const [row] = status.lag;
    Object.assign(row, { state: "stalled", reason: "a <b>reason</b>", lag_ms: 7_384_000, delay_ms: null, stages_ms: {}, backlog: 1234, runway_s: 59.4, needs_sync: true });
    const { page: bad } = await openWith(status);
    const [cell] = await cells(bad, "links");
    assert.deepEqual([cell.state, cell.lag, cell.delay, cell.backlog, cell.runway, cell.why], ["▲ needs sync", "2 h 03 min", "–", "1,234", "59.4 s", "a <b>reason</b>"]);
    assert.match(await bad.locator("#verdict").textContent(), new RegExp(`^${row.peer} is 2 h 03 min behind ${row.origin}: a <b>`));
    assert.equal(await bad.locator('[role="status"]').textContent(), await bad.locator("#verdict").textContent());
    await bad.close();

    // A region that has never been heard of is shown all the same, and of links nothing that was told long ago.
    delete status.regions["ap-south"];
    status.regions[TO].age_ms = 3_001;
    const { page: unheard } = await openWith(status);
    const shownRegion = (await cells(unheard, "regions")).find(({ region }) => region === "ap-south");
    assert.deepEqual(shownRegion, { region: "ap-south", leader: "–", epoch: "–", gateways: "–", agents: "–", told: "never" });
    assert.equal(await unheard.locator("#picture .region").count(), 3);
    const linkOf = Object.fromEntries((await cells(unheard, "links")).map(({ from, to, link, rtt }) => [`${from} → ${to}`, [link, rtt]]));
    assert.deepEqual(linkOf[`${TO} → ${FROM}`], ["–", "–"]);
    assert.equal(linkOf[PAIR][0], "connected");
    await unheard.close();

    // Colours: a link that is down or stalled is red, one that is paused or of which nobody knows is amber.
    const pair = status.lag.findIndex((row) => row.origin === FROM && row.peer === TO);
    const link = status.regions[FROM].links.find(({ peer }) => peer === TO);
    for (const [state, needs_sync, label, level] of [
      ["live", false, "connected", "good"], ["live", false, "dialing", "bad"], ["live", false, "paused", "unknown"], ["stalled", false, "paused", "bad"],
      ["unknown", false, "dialing", "unknown"], ["live", true, "connected", "bad"],
    ]) {
      Object.assign(status.lag[pair], { state, needs_sync });
      link.state = label;
      const { page: coloured } = await openWith(status);
      assert.equal(await levelOf(coloured), level, `${state} ${needs_sync} ${label}`);
      await coloured.close();
    }
  });

  test("shows a link that is cut, and that it is back", async () => {
    const { page } = await open(gateway(FROM).admin);
    await isCurrent(page);
    const colour = () => page.locator(`#picture [data-pair="${PAIR}"] path`).evaluate((path) => getComputedStyle(path).stroke);
    const green = await colour();
    lab("cut", FROM, TO);
    await levelIs(page, "bad");
    const red = await colour();
    const [r, g, b] = red.match(/\d+/g).map(Number);
    assert.ok(r > 150 && g < 120 && b < 120, `the arrow is ${red}`);
    assert.match(await page.locator("#verdict").textContent(), new RegExp(`${TO} is .* behind ${FROM}|${FROM} is .* behind ${TO}`));
    assert.equal(await levelOf(page, `${FROM} → ap-south`), "good");
    await page.locator('#events tr[data-severity="warning"]', { hasText: "link_down" }).first().waitFor();
    if (SCREENSHOTS) {
      await page.waitForFunction((pair) => parseFloat(document.querySelector(`#links tr[data-pair="${pair}"] [data-of="lag"]`).textContent) > 15, PAIR);
      await page.emulateMedia({ colorScheme: "dark" });
      await page.screenshot({ path: `${SCREENSHOTS}/page-cut.png` });
      await page.emulateMedia({ colorScheme: "light" });
    }
    lab("heal");
    await levelIs(page, "good");
    await isCurrent(page);
    assert.equal(await colour(), green);
    await page.close();
  });

  test("can be used with the keyboard, and in the dark", async () => {
    const { page } = await open(gateway(FROM).admin);
    await isCurrent(page);
    const focused = () => page.evaluate(() => {
      const element = document.activeElement;
      return element.closest("figure")?.dataset.pair ?? (element.id || element.querySelector("table")?.id);
    });
    const reached = [];
    for (let step = 0; step < 10; step += 1) {
      await page.keyboard.press("Tab");
      reached.push(await focused());
    }
    const pairs = (await cells(page, "links")).map(({ from, to }) => `${from} → ${to}`);
    assert.deepEqual(reached, ["regions", "links", ...pairs, "severity", "events"]);
    const chart = page.locator("figure").first();
    await chart.locator("svg").focus();
    const reading = () => chart.locator(".readout").textContent();
    await page.keyboard.press("Home");
    const first = await reading();
    await page.keyboard.press("ArrowRight");
    const second = await reading();
    assert.notEqual(first, second);
    assert.match(first, /^\d\d:\d\d:\d\dZ \w+, lag /);
    assert.equal(await chart.locator("svg .cursor").count(), 1);
    assert.equal(await chart.locator("svg").getAttribute("aria-valuetext"), second);
    // What is read stays what it is while the chart goes on.
    const updates = await page.evaluate(() => Number(document.body.dataset.updates));
    await page.waitForFunction((seen) => Number(document.body.dataset.updates) >= seen + 2, updates);
    assert.equal(await reading(), second);
    await page.keyboard.press("Escape");
    assert.equal(await chart.locator("svg .cursor").count(), 0);
    await page.locator("#severity").focus();
    await page.locator('#events tr[data-severity="warning"]').first().waitFor();
    assert.ok((await page.locator('#events tr[data-severity="notice"]').count()) > 0);
    assert.equal(await page.locator("#no-events").isVisible(), false);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    assert.equal(await page.locator("#no-events").isVisible(), true);
    await page.keyboard.press("ArrowUp");
    assert.equal(await page.locator('#events tr[data-severity="notice"]').count(), 0);
    assert.ok((await page.locator('#events tr[data-severity="warning"]').count()) > 0);
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
    assert.ok((await paper()).every((part) => part > 200));
    await page.emulateMedia({ colorScheme: "dark" });
    assert.ok((await paper()).every((part) => part < 60));
    await page.close();
  });

  test("is not at the service of other sites", async () => {
    // The page of an agent's listener is another origin.
    const page = await browser.newPage();
    await page.goto(`${run.regions[FROM].agents[0].admin}/healthz`);
    const pause = `${gateway(FROM).admin}/v1/links/${TO}/pause`;
    await page.evaluate((url) => fetch(url, { method: "POST", mode: "no-cors" }), pause);
    const all = await Promise.all(run.regions[FROM].gateways.map(({ admin }) => statusOf(admin)));
    const leader = all.find(({ leading }) => leading);
    assert.ok(leader.links.length === 2 && leader.links.every(({ paused }) => !paused), JSON.stringify(leader.links));
    await page.close();
    const answered = await fetch(pause, { method: "POST", headers: { origin: "http://example.org" } });
    assert.equal((await answered.json()).code, "forbidden");
  });

  test("says that its gateway is silent, and does not call anything live then", async () => {
    const admin = gateway(FROM).admin;
    const name = (await statusOf(admin)).name;
    const { page } = await open(admin);
    await isCurrent(page);
    lab("stop", `${name}@${FROM}`);
    await page.waitForFunction(() => document.body.dataset.silent === "true");
    assert.match(await page.locator("#verdict").textContent(), new RegExp(`^${name} reports nothing`));
    assert.ok((await cells(page, "links")).every(({ state, link }) => !state.includes("live") && link === "–"));
    assert.ok((await cells(page, "regions")).every(({ told }) => / s ago$/.test(told)));
    for (const readout of await page.locator(".readout").allTextContents()) assert.match(readout, /^unknown for /);
    await page.waitForFunction(() => parseFloat(document.querySelector('[data-of="lag"]').textContent) > 5);
    lab("cont", `${name}@${FROM}`);
    await page.waitForFunction(() => document.body.dataset.silent === "false");
    await isCurrent(page);
    await page.close();
  });

  const OUTAGES = [
    ["the link is cut", ["cut", FROM, TO], ["heal"]],
    ["the leader and its standby are stopped", ["stop", `gateways@${FROM}`], ["cont", `gateways@${FROM}`]],
    ["the agents that apply are stopped", ["stop", `agents@${TO}`], ["cont", `agents@${TO}`]],
    ["the origin's NATS is stopped", ["stop", `nats@${FROM}`], ["cont", `nats@${FROM}`]],
  ];
  for (const [what, begin, end] of OUTAGES) {
    test(`shows a lag that grows by a second each second while ${what}`, async () => {
      const { page } = await open(gateway(TO).admin);
      await isCurrent(page);
      lab(...begin);
      // When the page changed, in seconds, and the lag that it shows then, for 20 s.
      const readings = await page.evaluate((pair) => new Promise((done) => {
        const readings = [];
        const cell = () => document.querySelector(`#links tr[data-pair="${pair}"] [data-of="lag"]`).textContent;
        const observer = new MutationObserver(() => {
          readings.push([performance.now() / 1000, cell()]);
          if (readings.at(-1)[0] - readings[0][0] > 20) {
            observer.disconnect();
            done(readings);
          }
        });
        observer.observe(document.body, { attributeFilter: ["data-updates"] });
      }), PAIR);
      lab(...end);
      const noticed = readings.filter(([at]) => at - readings[0][0] >= 4).map(([at, text]) => [at, parseFloat(text)]);
      assert.ok(noticed.length >= 14, JSON.stringify(readings));
      noticed.slice(1).forEach(([at, lag], index) => {
        const [passed, grown] = [at - noticed[index][0], lag - noticed[index][1]];
        // Both texts are rounded to tenths of a second.
        assert.ok(Math.abs(grown - passed) <= 0.2 * passed + 0.1, `${grown} s in ${passed} s: ${JSON.stringify(readings)}`);
      });
      await isCurrent(page);
      await page.close();
    });
  }

  test("leaves a picture", { skip: !SCREENSHOTS }, async () => {
    const { page } = await open(gateway(FROM).admin);
    await isCurrent(page);
    await page.waitForFunction(() => [...document.querySelectorAll('#links [data-of="delay"], #links [data-of="link"]')]
      .every(({ textContent }) => / ms$|^connected$/.test(textContent)));
    await page.screenshot({ path: `${SCREENSHOTS}/page.png` });
    await page.close();
  });
});
