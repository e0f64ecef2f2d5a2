// Per pair of regions: the lag, and below it the delay by its stages, over the last minutes.

import { svg } from "./picture.js";
import { lag, millis, STAGES, time } from "./text.js";

const SPAN_MS = 300_000;
const WIDTH = 600;
const LAG = { top: 4, height: 70 };
const DELAY = { top: 92, height: 70 };
// The scale of the lag does not magnify what is below the resolution of marks.
const LEAST_LAG_MS = 5_000;
// A gap between two samples that is longer than this is a gap in the chart.
const GAP_MS = 3_500;

const levelOf = (sample) => ({ live: "good", stalled: "bad" })[sample.state] ?? "unknown";

// The next of 1, 2 and 5 times a power of ten.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

// Runs of samples that belong together.
function runs(samples, same) {
  const all = [];
  for (const sample of samples) {
    const before = all.at(-1)?.at(-1);
    if (before && sample.at - before.at < GAP_MS && same(before, sample)) all.at(-1).push(sample);
    else all.push([sample]);
  }
  return all;
}

class Chart {
  samples = [];
  #cursor = null;

  constructor(name) {
    this.title = document.createElement("h3");
    this.title.textContent = name;
    this.plot = svg("svg", { viewBox: `0 0 ${WIDTH} 170`, preserveAspectRatio: "none", tabindex: 0, role: "img" });
    this.readout = document.createElement("p");
    this.readout.className = "readout";
    this.element = document.createElement("figure");
    this.element.dataset.pair = name;
    this.scales = { lag: document.createElement("span"), delay: document.createElement("span") };
    Object.entries(this.scales).forEach(([what, scale]) => (scale.className = `scale of-${what}`));
    this.element.append(this.title, this.plot, this.scales.lag, this.scales.delay, this.readout);
    this.plot.addEventListener("keydown", (event) => this.#key(event));
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    const leave = () => this.#read(null);
    this.plot.addEventListener("pointerleave", leave);
    this.plot.addEventListener("blur", leave);
  }

  add(sample) {
    this.samples.push(sample);
    while (this.samples[0].at < sample.at - SPAN_MS) this.samples.shift();
  }

  draw() {
    const newest = this.samples.at(-1).at;
    const x = (at) => (WIDTH * (1 - (newest - at) / SPAN_MS)).toFixed(1);
    const total = (sample) => STAGES.reduce((sum, stage) => sum + (sample.stages[stage] ?? 0), 0);
    const lags = this.samples.filter((sample) => sample.lag !== null);
    const delays = this.samples.filter((sample) => sample.state === "live" && total(sample) > 0);
    const highest = { lag: ceiling(Math.max(LEAST_LAG_MS, ...lags.map((sample) => sample.lag))), delay: ceiling(Math.max(...delays.map(total))) };
    const height = (plot, value, most) => (plot.top + plot.height * (1 - Math.min(value / most, 1))).toFixed(1);
    const points = (run, y) => run.map((sample) => `${x(sample.at)} ${y(sample)}`);
    const parts = [LAG, DELAY].map(({ top, height }) => svg("rect", { class: "plot", x: 0, y: top, width: WIDTH, height }));
    for (const run of runs(lags, (one, other) => one.state === other.state)) {
      const edge = points(run, (sample) => height(LAG, sample.lag, highest.lag));
      const ground = LAG.top + LAG.height;
      const area = `M${x(run[0].at)} ${ground} L${edge.join(" L")} L${x(run.at(-1).at)} ${ground} z`;
      parts.push(svg("path", { class: "lag", "data-level": levelOf(run[0]), d: area }));
    }
    for (const run of runs(delays, () => true)) {
      const below = run.map(() => 0);
      for (const stage of STAGES) {
        const lower = points(run, (sample) => height(DELAY, below[run.indexOf(sample)], highest.delay));
        run.forEach((sample, index) => (below[index] += sample.stages[stage] ?? 0));
        const upper = points(run, (sample) => height(DELAY, below[run.indexOf(sample)], highest.delay));
        parts.push(svg("path", { class: "stage", "data-stage": stage, d: `M${upper.join(" L")} L${lower.reverse().join(" L")} z` }));
      }
    }
    if (this.#cursor !== null) {
      const at = x(this.samples[this.#cursor]?.at ?? newest);
      parts.push(svg("path", { class: "cursor", d: `M${at} ${LAG.top} V${DELAY.top + DELAY.height}` }));
    }
    this.plot.replaceChildren(...parts);
    this.scales.lag.textContent = lags.length ? `lag, up to ${millis(highest.lag)}` : "no lag is known";
    this.scales.delay.textContent = delays.length ? `delay, up to ${millis(highest.delay)}` : "nothing arrives";
    this.#tell();
  }

  #tell() {
    const sample = this.samples[this.#cursor ?? this.samples.length - 1] ?? this.samples.at(-1);
    const stages = sample.state === "live" ? STAGES.filter((stage) => stage in sample.stages) : [];
    const parts = stages.map((stage) => `${stage} ${millis(sample.stages[stage])}`);
    const at = `${time(sample.at)} ${sample.state}, lag ${lag(sample.lag)}`;
    const text = [at, ...parts].join(", ");
    if (this.readout.textContent !== text) this.readout.textContent = text;
    this.plot.setAttribute("aria-label", `${this.title.textContent}: ${text}`);
  }

  #read(cursor) {
    this.#cursor = cursor === null ? null : Math.min(Math.max(cursor, 0), this.samples.length - 1);
    this.draw();
  }

  #key(event) {
    const at = this.#cursor ?? this.samples.length - 1;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: this.samples.length - 1, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#read(to);
  }

  #point(event) {
    const { left, width } = this.plot.getBoundingClientRect();
    const at = this.samples.at(-1).at - SPAN_MS * (1 - (event.clientX - left) / width);
    const distance = (sample) => Math.abs(sample.at - at);
    const nearest = this.samples.reduce((one, other) => (distance(other) < distance(one) ? other : one));
    this.#read(this.samples.indexOf(nearest));
  }
}

export class Charts {
  #charts = new Map();

  constructor(place, key) {
    this.place = place;
    for (const stage of STAGES) {
      const mark = document.createElement("span");
      Object.assign(mark, { className: "stage", textContent: stage });
      mark.dataset.stage = stage;
      key.append(mark);
    }
  }

  // Forgets what it has: the gateway tells its own samples.
  begin(samples) {
    for (const chart of this.#charts.values()) chart.samples = [];
    for (const { at_ms, pairs } of samples) pairs.forEach((pair) => this.#take(at_ms, pair));
    this.#draw();
  }

  add(at, pairs) {
    for (const { row } of pairs) this.#take(at, row);
    this.#draw();
  }

  #take(at, { origin, peer, state, lag_ms, stages_ms }) {
    const name = `${origin} → ${peer}`;
    if (!this.#charts.has(name)) {
      const chart = new Chart(name);
      this.#charts.set(name, chart);
      this.place.append(chart.element);
    }
    this.#charts.get(name).add({ at, state, lag: lag_ms, stages: stages_ms });
  }

  #draw() {
    for (const [name, chart] of this.#charts) {
      if (chart.samples.length > 0) chart.draw();
      else {
        chart.element.remove();
        this.#charts.delete(name);
      }
    }
  }
}
