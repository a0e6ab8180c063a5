/* Uncertainty by sampling step, of all images and of each class. */
import { labelText, run } from "./data.js";
import { count, make, short, svg } from "./format.js";

const HEIGHT = 340, LEFT = 62, RIGHT = 14, TOP = 12, BOTTOM = 44;
const MOST_LINES = 10; // as many as there are colours
const by = (id) => document.getElementById(id);
const nameOf = (group) => (group.label === null ? "all images" : `class ${labelText(group.label)}`);

/* Round numbers between low and high, about five. */
function ticks(low, high) {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const list = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) list.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return list;
}

/* Points of the group that are numbers: [step, mean, deviation]. */
const points = (map, group) => map.steps.map((step, k) => [step, group.mean[k], group.deviation[k] ?? 0]).filter(([, mean]) => mean !== null);

function draw(map, chosen) {
  const all = chosen.flatMap((g) => points(map, map.groups[g]));
  const banded = chosen.length === 1;
  const chart = by("chart"), wide = Math.max(240, chart.clientWidth);
  chart.setAttribute("viewBox", `0 0 ${wide} ${HEIGHT}`);
  if (all.length === 0) {
    chart.replaceChildren();
    return;
  }
  const steps = all.map(([step]) => step);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  let low = Math.min(...all.map(([, mean, deviation]) => mean - (banded ? deviation : 0)));
  let high = Math.max(...all.map(([, mean, deviation]) => mean + (banded ? deviation : 0)));
  if (!(high > low)) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
  const x = (step) => LEFT + (last > first ? (step - first) / (last - first) : 0.5) * (wide - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const parts = [];
  for (const value of ticks(low, high)) {
    parts.push(svg("line", { class: "grid", x1: LEFT, x2: wide - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 10, y: y(value) + 5, "text-anchor": "end" }, short(value, 3)));
  }
  const whole = ticks(first, last).filter(Number.isInteger);
  for (const step of whole.length ? whole : [first]) parts.push(svg("text", { x: x(step), y: HEIGHT - BOTTOM + 22, "text-anchor": "middle" }, String(step)));
  parts.push(svg("text", { class: "quiet", x: (LEFT + wide - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "sampling step"));
  chosen.forEach((g) => {
    const line = points(map, map.groups[g]);
    const colour = g === 0 ? "c-all" : `c-${(g - 1) % MOST_LINES}`;
    const path = (list) => list.map(([step, value], k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    if (banded) {
      const upper = line.map(([step, mean, deviation]) => [step, mean + deviation]);
      const lower = line.map(([step, mean, deviation]) => [step, mean - deviation]).reverse();
      parts.push(svg("path", { class: `band ${colour}`, d: `${path(upper)}${path(lower).replace("M", "L")}Z` }));
    }
    parts.push(svg("path", { class: `curve ${colour}`, d: path(line) }));
    for (const [step, mean, deviation] of line)
      parts.push(svg("circle", { class: `dot ${colour}`, cx: x(step), cy: y(mean), r: line.length > 20 ? 2 : 4 },
        svg("title", {}, `${nameOf(map.groups[g])}, step ${step}: ${short(mean)} ± ${short(deviation)}`)));
  });
  chart.replaceChildren(...parts);
  chart.setAttribute("aria-label", `${map.name} by sampling step ${first} to ${last}, from ${short(low)} to ${short(high)}; the table below has the numbers`);
}

function drawTable(map) {
  const head = make("tr", {}, make("th", { scope: "col" }, "images of"), make("th", { scope: "col" }, "images"),
    ...map.steps.map((step) => make("th", { scope: "col" }, `step ${step}`)));
  const body = map.groups.map((group) => make("tr", {}, make("th", { scope: "row" }, nameOf(group)), make("td", {}, count(group.images)),
    ...group.mean.map((mean, k) => make("td", {}, mean === null ? "–" : `${short(mean)} ± ${group.deviation[k] === null ? "–" : short(group.deviation[k])}`))));
  by("curve-table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
}

export function start() {
  const { maps } = run.curves;
  if (maps.length === 0) return;
  by("curves").hidden = false;
  const select = by("curve-map");
  select.append(...maps.map((map, m) => make("option", { value: String(m) }, map.name)));
  const shown = maps.findIndex((map) => map.name === run.maps[run.shown]?.name);
  select.value = String(Math.max(0, shown));
  let chosen = [0];
  const box = by("groups");
  const update = () => {
    const map = maps[Number(select.value)];
    draw(map, chosen);
    drawTable(map);
  };
  const set = (groups) => {
    chosen = groups;
    for (const input of box.querySelectorAll("input")) input.checked = chosen.includes(Number(input.value));
    update();
  };
  const { groups } = maps[0];
  box.hidden = groups.length === 1;
  groups.forEach((group, g) => {
    const input = make("input", { type: "checkbox", value: String(g), checked: g === 0 });
    const colour = g === 0 ? "c-all" : `c-${(g - 1) % MOST_LINES}`;
    box.append(make("label", {}, input, make("span", { class: colour }, g === 0 ? "all images" : labelText(group.label))));
  });
  const every = make("button", { type: "button", class: "plain" }, "every class");
  every.addEventListener("click", () => set(groups.map((_, g) => g).slice(1)));
  if (groups.length > 1 && groups.length <= 101) box.append(every);
  box.addEventListener("change", () => set([...box.querySelectorAll("input:checked")].map((input) => Number(input.value))));
  select.addEventListener("change", update);
  new ResizeObserver(() => draw(maps[Number(select.value)], chosen)).observe(by("chart"));
  update();
}
