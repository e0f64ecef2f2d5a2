// The tables: regions, links, events.

import { count, lag, levelOf, list, millis, object, or, regionsOf, seconds, signed, stateOf, time } from "./text.js";

// Of each severity, so that many of one push out none of another.
const KEPT_EVENTS = 500;
const SHOWN_EVENTS = 100;
const SEVERITIES = ["notice", "warning", "alarm"];
const SIGNS = { good: "●", unknown: "◆", bad: "▲" };

// Sets the rows of a table's body: what is there already is changed, not made again, so that selections stay.
function rows(table, wanted) {
  const body = table.tBodies[0];
  while (body.rows.length > wanted.length) body.deleteRow(-1);
  wanted.forEach(({ cells, data }, index) => {
    const row = body.rows[index] ?? body.insertRow();
    Object.entries(data ?? {}).forEach(([name, value]) => (row.dataset[name] = value));
    cells.forEach(({ name, text, number }, column) => {
      let cell = row.cells[column];
      if (!cell) {
        cell = column === 0 ? document.createElement("th") : document.createElement("td");
        if (column === 0) cell.scope = "row";
        row.append(cell);
      }
      cell.dataset.of = name;
      cell.classList.toggle("number", Boolean(number));
      if (cell.textContent !== text) cell.textContent = text;
    });
  });
}

export function showRegions(table, status) {
  rows(table, regionsOf(status).map(([name, region]) => {
    const all = list(region.members).map(object);
    const members = (role) => all.filter((member) => member.role === role).map((member) => or(member.name));
    const never = name === status.region ? "now" : "never";
    const age = region.age_ms === undefined ? never : `${millis(region.age_ms)} ago`;
    const told = region.unreadable ? `can't be read: ${or(region.unreadable)}` : age;
    return {
      data: { region: name },
      cells: [
        { name: "region", text: name },
        { name: "leader", text: region.unreadable ? "unknown" : or(region.leader) },
        { name: "epoch", text: or(region.epoch?.revision) },
        { name: "gateways", text: or(members("gateway").join(" ")) },
        { name: "agents", text: or(members("agent").join(" ")) },
        { name: "told", text: told },
      ],
    };
  }));
}

export function showLinks(table, pairs) {
  rows(table, pairs.map((pair) => {
    const { row, link } = pair;
    const level = levelOf(pair);
    return {
      data: { pair: pair.name, level },
      cells: [
        { name: "from", text: row.origin },
        { name: "to", text: row.peer },
        { name: "state", text: `${SIGNS[level]} ${stateOf(pair)}` },
        { name: "lag", text: lag(row.lag_ms), number: true },
        { name: "delay", text: millis(row.delay_ms), number: true },
        { name: "backlog", text: count(row.backlog), number: true },
        { name: "runway", text: seconds(row.runway_s), number: true },
        { name: "link", text: or(link?.state) },
        { name: "rtt", text: millis(link?.rtt_ms), number: true },
        { name: "clock", text: signed(link?.clock_offset_ms), number: true },
        { name: "why", text: row.reason ? or(row.reason) : "" },
      ],
    };
  }));
}

const newestFirst = (named) => [...named].sort(([, one], [, other]) => other.at_ms - one.at_ms || 0);

// Keeps the newest events, each once, and shows those of a severity and above.
export class EventTable {
  #kept = new Map(SEVERITIES.map((severity) => [severity, new Map()]));

  constructor(table, severity, reason, none) {
    Object.assign(this, { table, severity, reason, none });
    severity.addEventListener("change", () => this.#show());
  }

  add({ events, reason }) {
    for (const event of list(events).map(object)) this.#kept.get(event.severity)?.set(`${event.process} ${event.at_ms} ${event.sequence}`, event);
    for (const [severity, kept] of this.#kept) this.#kept.set(severity, new Map(newestFirst(kept).slice(0, KEPT_EVENTS)));
    this.reason.textContent = reason ? `New events are from this gateway only: ${reason}` : "";
    this.#show();
  }

  #show() {
    const least = Number(this.severity.value);
    const wanted = SEVERITIES.slice(least).flatMap((severity) => [...this.#kept.get(severity)]);
    const shown = newestFirst(wanted).slice(0, SHOWN_EVENTS);
    this.none.hidden = shown.length > 0;
    rows(this.table, shown.map(([, event]) => ({
      data: { severity: event.severity },
      cells: [
        { name: "time", text: time(event.at_ms) },
        { name: "severity", text: event.severity },
        { name: "process", text: or(event.process) },
        { name: "kind", text: or(event.kind) },
        { name: "message", text: or(event.message) },
      ],
    })));
  }
}
