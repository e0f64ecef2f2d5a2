// What a status says, as the page words it. Nothing here touches the page.

export const NONE = "–";

// The parts of a delay, in order.
export const STAGES = ["commit", "queue", "wire", "append", "apply"];

// What a region told is shown whatever it is: each of these gives what is expected, or what stands for nothing.
const number = (value) => (Number.isFinite(value) ? value : null);
export const list = (value) => (Array.isArray(value) ? value : []);
export const object = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});

// Milliseconds for people: 3.4 ms, 43 ms, 12.3 s, 2 min 03 s, 5 h 12 min, 3 d 4 h.
export function millis(value) {
  if (number(value) === null) return NONE;
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 999.5) return `${value.toFixed(0)} ms`;
  if (value < 59_950) return `${(value / 1e3).toFixed(1)} s`;
  const two = (whole, part, names) => `${whole} ${names[0]} ${String(part).padStart(2, "0")} ${names[1]}`;
  const seconds = Math.round(value / 1e3);
  if (seconds < 3_600) return two(Math.floor(seconds / 60), seconds % 60, ["min", "s"]);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 2_880) return two(Math.floor(minutes / 60), minutes % 60, ["h", "min"]);
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// A lag: marks come once a second, so that less than that is no lag.
export const lag = (value) => (number(value) !== null && value < 1e3 ? "< 1 s" : millis(value));

export const seconds = (value) => (number(value) === null ? NONE : millis(value * 1e3));

export const signed = (value) => (number(value) === null ? NONE : `${value < 0 ? "−" : "+"}${millis(Math.abs(value))}`);

export const count = (value) => (number(value) === null ? NONE : value.toLocaleString("en-US"));

export const or = (value) => (value === null || value === undefined || value === "" || typeof value === "object" ? NONE : String(value));

// A point in time of this day, or with its date.
export function time(at) {
  if (Number.isNaN(new Date(at).getTime())) return NONE;
  const [date, clock] = new Date(at).toISOString().split("T");
  const today = new Date().toISOString().split("T")[0];
  return `${date === today ? "" : `${date} `}${clock.slice(0, 8)}Z`;
}

// The regions of the set by name, also those of which nothing was heard.
export function regionsOf(status) {
  const silent = Object.fromEntries(list(status.lag).flatMap(({ origin, peer }) => [[origin, {}], [peer, {}]]));
  const regions = Object.entries({ ...silent, ...object(status.regions) }).map(([name, region]) => [name, object(region)]);
  return regions.sort(([one], [other]) => (one < other ? -1 : 1));
}

// What a region told longer ago says nothing of its links now.
const HEARD_MS = 3_000;

// Every pair of regions, by the row of its worst shard, which the gateway tells first, with the link that carries it.
export function pairsOf(status) {
  const pairs = new Map();
  for (const row of list(status.lag)) {
    const name = `${row.origin} → ${row.peer}`;
    if (!pairs.has(name)) {
      const { links, age_ms } = object(object(status.regions)[row.origin]);
      const heard = (number(age_ms) ?? 0) <= HEARD_MS;
      pairs.set(name, { name, row, link: heard ? list(links).find((link) => object(link).peer === row.peer) : undefined });
    }
  }
  return [...pairs.values()];
}

// `good`, `unknown` or `bad`.
export function levelOf({ row, link }) {
  const down = link && !["connected", "paused"].includes(link.state);
  if (row.needs_sync || row.state === "stalled" || (down && row.state !== "unknown")) return "bad";
  return row.state === "live" && link?.state !== "paused" ? "good" : "unknown";
}

export const stateOf = ({ row }) => (row.needs_sync ? "needs sync" : row.state);

// The whole set in one sentence, by its worst pair.
export function verdictOf(pairs) {
  const order = { bad: 0, unknown: 1, good: 2 };
  const behindBy = ({ row }) => number(row.lag_ms) ?? Number.MAX_VALUE;
  const greatest = (one, other) => behindBy(other) - behindBy(one);
  const sorted = [...pairs].sort((one, other) => order[levelOf(one)] - order[levelOf(other)] || greatest(one, other));
  const worst = sorted[0];
  if (!worst) return { level: "good", of: "", text: "No other region is in this set" };
  const level = levelOf(worst);
  if (level === "good") return { level, of: "", text: `All ${pairs.length} pairs of regions are live` };
  const { origin, peer, reason, lag_ms } = worst.row;
  const behind = number(lag_ms) === null ? `how far ${peer} is behind ${origin} is not known` : `${peer} is ${level === "bad" ? "" : "at least "}${lag(lag_ms)} behind ${origin}`;
  const others = sorted.filter((pair) => levelOf(pair) !== "good").length - 1;
  return { level, of: worst.name, text: [behind, reason && `: ${reason}`, others > 0 && ` (and ${others} more)`].filter(Boolean).join("") };
}

// The status as it may be now, when the gateway has told nothing for so long: what is not heard again grows older and is not live.
export function agedBy(status, elapsed) {
  const lag = list(status.lag).map((row) => ({
    ...row,
    state: row.state === "live" ? "unknown" : row.state,
    reason: row.reason ?? "this gateway reports nothing",
    lag_ms: number(row.lag_ms) === null ? null : row.lag_ms + elapsed,
  }));
  const aged = ([name, region]) => [name, { ...object(region), links: [], age_ms: (number(object(region).age_ms) ?? 0) + elapsed }];
  return { ...status, lag, regions: Object.fromEntries(Object.entries(object(status.regions)).map(aged)) };
}
