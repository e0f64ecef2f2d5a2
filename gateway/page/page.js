// Keeps the page as the gateway tells: a stream of server-sent events, and the time while it is silent.

import { Charts } from "./charts.js";
import { draw } from "./picture.js";
import { EventTable, showLinks, showRegions } from "./tables.js";
import { agedBy, millis, pairsOf, verdictOf } from "./text.js";

// The gateway tells once a second; after this it is silent.
const SILENT_MS = 2_500;

const part = (id) => document.getElementById(id);
const charts = new Charts(part("charts"), part("key"));
const events = new EventTable(part("events"), part("severity"), part("events-reason"), part("no-events"));
let told = null;
let announced = "";

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What is read aloud: the verdict when it is another one, not each second of it.
function announce(verdict) {
  if (announced === verdict) return;
  announced = verdict;
  set(part("news"), part("verdict").textContent);
}

function show(status, silence) {
  const pairs = pairsOf(status);
  const verdict = verdictOf(pairs);
  set(part("set"), `set ${status.set}, generation ${status.generation}`);
  set(part("teller"), `reported by ${status.name} of ${status.region}${silence ? `, ${millis(silence)} ago` : ""}`);
  set(part("verdict"), silence ? `${status.name} reports nothing: this was the state ${millis(silence)} ago` : verdict.text);
  announce(silence ? "silent" : `${verdict.level} ${verdict.of}`);
  document.body.dataset.level = silence ? "unknown" : verdict.level;
  document.body.dataset.silent = String(Boolean(silence));
  document.title = `${verdict.level === "good" && !silence ? "" : "▲ "}${status.set} · Isthmus`;
  draw(part("picture"), status, pairs);
  showRegions(part("regions"), status);
  showLinks(part("links"), pairs);
  return pairs;
}

function hear({ at_ms, status }) {
  told = { status, heard: performance.now() };
  charts.add(at_ms, show(status));
  document.body.dataset.updates = String(Number(document.body.dataset.updates ?? 0) + 1);
}

function listen() {
  const source = new EventSource("/v1/live");
  const on = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data)));
  on("history", (samples) => charts.begin(samples));
  on("status", hear);
  on("events", (news) => events.add(news));
  source.addEventListener("error", () => {
    // The browser tries again by itself, except after an answer that was none.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1_000);
  });
}

setInterval(() => {
  const silence = told ? performance.now() - told.heard : 0;
  if (silence > SILENT_MS) {
    show(agedBy(told.status, silence), silence);
    charts.draw(silence);
  }
}, 1_000);
listen();
