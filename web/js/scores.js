/* The upper part: which score, its histogram, how many images are kept, labels, the strips. */
import { run, labelOf, labelText, hasPicture } from "./data.js";
import { allLabels, change, keptCount, listen, nameOf, order, state, valuesOf } from "./state.js";
import { histogram, robustRange } from "./order.js";
import { thumbnail } from "./thumbnail.js";
import { count, make, percent, short, svg } from "./format.js";

const STRIP = 12, BINS = 60, WIDTH = 960, HEIGHT = 180;
const by = (id) => document.getElementById(id);
const keep = by("keep");

/* Where a kept image has its place among the values, for the reader. */
function readingOf(score) {
  const map = run.maps.find((one) => one.name === nameOf(score));
  if (!map) return score < 0 ? "Images in the order of the run." : `${nameOf(score)} of each image.`;
  if (map.is_error) return `Sum of ${map.description}.`;
  const sense = map.low_is_uncertain ? "low where the model is unsure" : "high where the model is unsure";
  return `Sum over pixels and scored steps of the ${map.description ?? "map"}; ${sense}.`;
}

let range = [0, 0];
function drawHistogram() {
  const rows = order(), values = valuesOf(state.score), n = keptCount();
  range = robustRange(values, rows);
  const all = histogram(values, rows, BINS, ...range);
  const inside = histogram(values, rows.subarray(0, n), BINS, ...range);
  const most = Math.max(1, ...all);
  const bars = [];
  all.forEach((total, bin) => {
    const x = (bin * WIDTH) / BINS + 1, wide = WIDTH / BINS - 2;
    const bar = (amount, kind) => {
      const high = (amount / most) * (HEIGHT - 8);
      return svg("rect", { class: kind, x, y: HEIGHT - high, width: wide, height: high, rx: 1.5 });
    };
    if (total) bars.push(bar(total, "all"));
    if (inside[bin]) bars.push(bar(inside[bin], "inside"));
  });
  if (n > 0 && n < rows.length && range[1] > range[0]) {
    const edge = Math.min(1, Math.max(0, (values[rows[n - 1]] - range[0]) / (range[1] - range[0])));
    bars.push(svg("line", { class: "edge", x1: edge * WIDTH, x2: edge * WIDTH, y1: 0, y2: HEIGHT }));
  }
  by("histogram").replaceChildren(...bars);
  by("histogram").setAttribute("aria-label", `Histogram of ${nameOf(state.score)}: ${count(rows.length)} images from ${short(range[0])} to ${short(range[1])}, ${count(n)} kept`);
  by("axis-low").textContent = rows.length ? short(range[0]) : "";
  by("axis-high").textContent = rows.length ? short(range[1]) : "";
}

/* Keeps what is on the beginning's side of a value. */
function keepUpTo(position) {
  const rows = order(), values = valuesOf(state.score);
  const value = range[0] + position * (range[1] - range[0]);
  let n = 0;
  while (n < rows.length && (state.ascending ? values[rows[n]] <= value : values[rows[n]] >= value)) n++;
  change({ keep: n, page: 0 }, "keep");
}

function drawKept() {
  const rows = order(), n = keptCount();
  keep.max = rows.length;
  keep.value = n;
  const edge = n > 0 ? `, ${nameOf(state.score)} ${state.ascending ? "≤" : "≥"} ${short(valuesOf(state.score)[rows[n - 1]])}` : "";
  by("kept").textContent = `${count(n)} of ${count(rows.length)} (${percent(n, rows.length)})${n < rows.length ? edge : ""}`;
  keep.setAttribute("aria-valuetext", by("kept").textContent);
}

let shownStrips = "";
function drawStrips(open) {
  const rows = Array.from(order()).filter(hasPicture);
  const known = rows.filter((row) => !Number.isNaN(valuesOf(state.score)[row]));
  const ends = [known.slice(0, STRIP), known.slice(-STRIP).reverse()];
  if (!state.ascending) ends.reverse();
  const key = JSON.stringify([ends, state.opacity, state.map, state.shared, state.score]);
  if (key === shownStrips) return;
  shownStrips = key;
  ["lowest", "highest"].forEach((id, end) => {
    by(`${id}-title`).textContent = `${id === "lowest" ? "Lowest" : "Highest"} ${nameOf(state.score)}`;
    by(id).replaceChildren(...ends[end].map((row) => {
      const button = make("button", { type: "button", class: "card small" }, thumbnail(row), make("span", { "aria-hidden": "true" }, short(valuesOf(state.score)[row])));
      button.addEventListener("click", () => open(row));
      return button;
    }));
  });
}

function makeLabels() {
  if (allLabels.length < 2) return;
  const box = by("labels");
  box.hidden = false;
  const counts = new Map();
  for (const label of labelOf) counts.set(label, (counts.get(label) ?? 0) + 1);
  const boxes = allLabels.map((label) => make("input", { type: "checkbox", checked: true, value: String(label) }));
  const tell = () => {
    const on = boxes.filter((one) => one.checked).map((one) => Number(one.value));
    change({ labels: on.length === boxes.length ? null : new Set(on), keep: Infinity, page: 0 }, "order");
  };
  const every = (checked) => () => {
    for (const one of boxes) one.checked = checked;
    tell();
  };
  box.append(...boxes.map((one) => make("label", { title: `${count(counts.get(Number(one.value)))} images` }, one, make("span", {}, labelText(Number(one.value))))));
  for (const [text, checked] of [["all", true], ["none", false]]) {
    const button = make("button", { type: "button", class: "plain" }, text);
    button.addEventListener("click", every(checked));
    box.append(button);
  }
  box.addEventListener("change", tell);
}

export function start(open) {
  const select = by("score");
  select.append(...[-1, ...run.scores.keys()].map((k) => make("option", { value: String(k) }, nameOf(k))));
  select.value = String(state.score);
  select.addEventListener("change", () => change({ score: Number(select.value), keep: Infinity, page: 0 }, "order"));
  const direction = by("direction");
  direction.addEventListener("click", () => change({ ascending: !state.ascending, page: 0 }, "order"));
  keep.addEventListener("input", () => {
    const n = Number(keep.value);
    change({ keep: n === order().length ? Infinity : n, page: 0 }, "keep");
  });
  const chart = by("histogram");
  const drag = (event) => {
    if (event.buttons !== 1) return;
    const box = chart.getBoundingClientRect();
    const position = (event.clientX - box.left) / box.width;
    keepUpTo(Math.min(1, Math.max(0, position)));
  };
  chart.addEventListener("pointerdown", drag);
  chart.addEventListener("pointermove", drag);
  makeLabels();
  const draw = (what) => {
    direction.textContent = state.ascending ? "lowest first" : "highest first";
    direction.setAttribute("aria-pressed", String(!state.ascending));
    by("reading").textContent = readingOf(state.score);
    if (what.has("order") || what.has("keep")) {
      drawHistogram();
      drawKept();
    }
    if (what.has("order") || what.has("view")) drawStrips(open);
  };
  listen(draw);
  draw(new Set(["order", "view"]));
}
