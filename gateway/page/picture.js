// The picture: regions on a ring, and an arrow for each pair that changes go along.

import { levelOf, millis, regionsOf } from "./text.js";

const RADIUS = { x: 200, y: 150 };
const NODE = 38;
// Room around the regions for what is drawn beside them.
const MARGIN = { x: NODE + 48, y: NODE + 36 };
const LEVELS = ["good", "unknown", "bad"];
// Labels of more pairs would cover each other.
const LABELLED = 12;

export function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  element.append(...children);
  return element;
}

function placeOf(index, of) {
  const angle = -Math.PI / 2 + (2 * Math.PI * (index + (of === 2 ? 0.5 : 0))) / of;
  return { x: RADIUS.x * Math.cos(angle), y: RADIUS.y * Math.sin(angle) };
}

// From the edge of one region to that of the other, bent to the left so that both ways are seen, with the label near its start.
function arrow(from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy);
  const [ux, uy] = [dx / length, dy / length];
  const at = (along, aside) => ({ x: from.x + ux * along + uy * aside, y: from.y + uy * along - ux * aside });
  const [start, middle, end] = [at(NODE, 10), at(length / 2, 48), at(length - NODE - 8, 10)];
  const mix = (one, two, three) => 0.49 * one + 0.42 * two + 0.09 * three;
  const label = { x: mix(start.x, middle.x, end.x) + uy * 10, y: mix(start.y, middle.y, end.y) - ux * 10 + 5 };
  const anchor = uy > 0.3 ? "start" : uy < -0.3 ? "end" : "middle";
  const point = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  return { path: `M${point(start)} Q${point(middle)} ${point(end)}`, label, anchor };
}

// What arrives is told by its delay, what does not by its lag.
const labelOf = ({ row }, level) => millis(level === "good" ? row.delay_ms : row.lag_ms);

const head = (level) =>
  svg("marker", { id: `head-${level}`, "data-level": level, viewBox: "0 0 8 8", refX: 4, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" },
    svg("path", { d: "M0 0 L8 4 L0 8 z" }));

export function draw(picture, status, pairs) {
  const regions = regionsOf(status);
  const places = new Map(regions.map(([name], index) => [name, placeOf(index, regions.length)]));
  const drawn = [svg("defs", {}, ...LEVELS.map(head))];
  for (const pair of pairs) {
    const [from, to] = [places.get(pair.row.origin), places.get(pair.row.peer)];
    const level = levelOf(pair);
    const { path, label, anchor } = arrow(from, to);
    const parts = [svg("path", { d: path, "marker-end": `url(#head-${level})` })];
    if (pairs.length <= LABELLED) {
      parts.push(svg("text", { x: label.x.toFixed(1), y: label.y.toFixed(1), "text-anchor": anchor }, labelOf(pair, level)));
    }
    drawn.push(svg("g", { class: "link", "data-pair": pair.name, "data-level": level }, ...parts));
  }
  for (const [name, region] of regions) {
    const { x, y } = places.get(name);
    drawn.push(svg("g", { class: name === status.region ? "region own" : "region", "data-region": name },
      svg("circle", { cx: x, cy: y, r: NODE }),
      svg("text", { x, y: y - 2, "text-anchor": "middle" }, name),
      svg("text", { x, y: y + 14, "text-anchor": "middle", class: "leader" }, region.unreadable ? "unknown" : String(region.leader ?? "no leader"))));
  }
  const [xs, ys] = [[...places.values()].map(({ x }) => x), [...places.values()].map(({ y }) => y)];
  const [left, top] = [Math.min(...xs) - MARGIN.x, Math.min(...ys) - MARGIN.y];
  picture.setAttribute("viewBox", `${left} ${top} ${Math.max(...xs) + MARGIN.x - left} ${Math.max(...ys) + MARGIN.y - top}`);
  picture.replaceChildren(...drawn);
}
