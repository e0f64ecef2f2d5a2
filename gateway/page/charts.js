// Per pair of regions: the lag, and below it the delay by its stages, over the last minutes.

import { svg } from "./picture.js";
import { lag, list, millis, object, STAGES, time } from "./text.js";

const SPAN_MS = 300_000;
// One a second, and some to spare.
const MOST_SAMPLES = 400;
const WIDTH = 600;
const LAG = { top: 4, height: 70 };
const DELAY = { top: 92, height: 70 };
// The scale of the lag does not magnify what is below the resolution of marks.
const LEAST_LAG_MS = 5_000;
// A gap between two samples that is longer than this is a gap in the chart.
const GAP_MS = 3_500;

const levelOf = (sample) => ({ live: "good", stalled: "bad" })[sample.state] ?? "unknown";
const total = (sample) => STAGES.reduce((sum, stage) => sum + (sample.stages[stage] ?? 0), 0);

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
  // The time that is read; null for the newest.
  #at = null;
  // How long the gateway has told nothing.
  #silence = 0;

  constructor(name) {
    this.name = name;
    const title = document.createElement("h3");
    title.textContent = name;
    this.plot = svg("svg", { viewBox: `0 0 ${WIDTH} 170`, preserveAspectRatio: "none", tabindex: 0, role: "slider",
      "aria-label": `${name}, lag and delay`, "aria-valuemin": 0 });
    this.readout = document.createElement("p");
    this.readout.className = "readout";
    this.element = document.createElement("figure");
    this.element.dataset.pair = name;
    this.scales = { lag: document.createElement("span"), delay: document.createElement("span") };
    Object.entries(this.scales).forEach(([what, scale]) => (scale.className = `scale of-${what}`));
    this.element.append(title, this.plot, this.scales.lag, this.scales.delay, this.readout);
    this.plot.addEventListener("keydown", (event) => this.#key(event));
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    const leave = () => this.#read(null);
    this.plot.addEventListener("pointerleave", leave);
    this.plot.addEventListener("blur", leave);
  }

  add(sample) {
    // A clock that went back: what it called later is not.
    while (this.samples.length > 0 && this.samples.at(-1).at >= sample.at) this.samples.pop();
    this.samples.push(sample);
    while (this.samples.length > MOST_SAMPLES || this.samples[0].at < sample.at - SPAN_MS) this.samples.shift();
  }

  draw(silence = 0) {
    this.#silence = silence;
    const newest = this.samples.at(-1).at + silence;
    const x = (at) => (WIDTH * (1 - (newest - at) / SPAN_MS)).toFixed(1);
    const lags = this.samples.filter((sample) => sample.lag !== null);
    const delays = this.samples.filter((sample) => sample.state === "live" && total(sample) > 0);
    const highest = { lag: ceiling(Math.max(LEAST_LAG_MS, ...lags.map((sample) => sample.lag))), delay: ceiling(Math.max(...delays.map(total))) };
    const height = (plot, value, most) => (plot.top + plot.height * (1 - Math.min(value / most, 1))).toFixed(1);
    const points = (run, y) => run.map((sample, index) => `${x(sample.at)} ${y(sample, index)}`);
    const parts = [LAG, DELAY].map(({ top, height }) => svg("rect", { class: "plot", x: 0, y: top, width: WIDTH, height }));
    for (const run of runs(lags, (one, other) => one.state === other.state)) {
      const edge = points(run, (sample) => height(LAG, sample.lag, highest.lag));
      const ground = LAG.top + LAG.height;
      const area = `M${x(run[0].at)} ${ground} L${edge.join(" L")} L${x(run.at(-1).at)} ${ground} z`;
      parts.push(svg("path", { class: "lag", "data-level": levelOf(run[0]), d: area }));
    }
    for (const run of runs(delays, () => true)) {
      const below = run.map(() => 0);
      const edge = () => points(run, (_, index) => height(DELAY, below[index], highest.delay));
      for (const stage of STAGES) {
        const lower = edge();
        run.forEach((sample, index) => (below[index] += sample.stages[stage] ?? 0));
        parts.push(svg("path", { class: "stage", "data-stage": stage, d: `M${edge().join(" L")} L${lower.reverse().join(" L")} z` }));
      }
    }
    if (this.#at !== null) {
      const at = x(this.samples[this.#index()].at);
      parts.push(svg("path", { class: "cursor", d: `M${at} ${LAG.top} V${DELAY.top + DELAY.height}` }));
    }
    this.plot.replaceChildren(...parts);
    this.scales.lag.textContent = lags.length ? `lag, up to ${millis(highest.lag)}` : "lag unknown";
    this.scales.delay.textContent = delays.length ? `delay, up to ${millis(highest.delay)}` : "nothing arrives";
    this.#tell();
  }

  // Which sample is read: the one nearest to the time.
  #index() {
    if (this.#at === null) return this.samples.length - 1;
    const distances = this.samples.map((sample) => Math.abs(sample.at - this.#at));
    return distances.indexOf(Math.min(...distances));
  }

  #tell() {
    const sample = this.samples[this.#index()];
    const stages = sample.state === "live" ? STAGES.filter((stage) => stage in sample.stages) : [];
    const parts = stages.map((stage) => `${stage} ${millis(sample.stages[stage])}`);
    const then = [`${time(sample.at)} ${sample.state}, lag ${lag(sample.lag)}`, ...parts].join(", ");
    const text = this.#at === null && this.#silence > 0 ? `unknown for ${millis(this.#silence)}; ${then}` : then;
    if (this.readout.textContent !== text) this.readout.textContent = text;
    // What is read aloud does not change by itself while somebody reads.
    if (document.activeElement !== this.plot || this.#at !== null) {
      this.plot.setAttribute("aria-valuemax", this.samples.length - 1);
      this.plot.setAttribute("aria-valuenow", this.#index());
      this.plot.setAttribute("aria-valuetext", text);
    }
  }

  #read(index) {
    const within = index === null ? null : Math.min(Math.max(index, 0), this.samples.length - 1);
    this.#at = within === null ? null : this.samples[within].at;
    this.draw(this.#silence);
  }

  #key(event) {
    const at = this.#index();
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, PageDown: at - 30, PageUp: at + 30,
      Home: 0, End: this.samples.length - 1, Escape: null };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.#read(steps[event.key]);
  }

  #point(event) {
    const { left, width } = this.plot.getBoundingClientRect();
    this.#at = this.samples.at(-1).at + this.#silence - SPAN_MS * (1 - (event.clientX - left) / width);
    this.#read(this.#index());
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
    for (const { at_ms, pairs } of list(samples).map(object)) list(pairs).forEach((pair) => this.#take(at_ms, pair));
    this.draw();
  }

  add(at, pairs) {
    for (const { row } of pairs) this.#take(at, row);
    this.draw();
  }

  #take(at, { origin, peer, state, lag_ms, stages_ms }) {
    const name = `${origin} → ${peer}`;
    if (!this.#charts.has(name)) {
      const chart = new Chart(name);
      this.#charts.set(name, chart);
      this.place.append(chart.element);
    }
    this.#charts.get(name).add({ at, state, lag: Number.isFinite(lag_ms) ? lag_ms : null, stages: object(stages_ms) });
  }

  // As it is when the gateway has told nothing for so long.
  draw(silence = 0) {
    for (const [name, chart] of this.#charts) {
      if (chart.samples.length > 0) chart.draw(silence);
      else {
        chart.element.remove();
        this.#charts.delete(name);
      }
    }
  }
}
