/* One image: its maps, its steps, what is under the pointer, the other run beside it. */
import { channels, detail, height, labelOf, labelText, mapOf, numberOf, otherMapOf, picture, predicted, run, scores, stepsOf, width } from "./data.js";
import { blend, drawLegend, rangeOf, sharedScale } from "./colour.js";
import { change, kept, listen, state } from "./state.js";
import { hasPicture } from "./data.js";
import { count, exact, make, short } from "./format.js";

const by = (id) => document.getElementById(id);
const dialog = by("detail"), stage = by("stage"), left = by("left"), right = by("right");
const other = run.other ?? null;
const look = { row: -1, map: run.shown, opacity: 0.6, shared: true, step: null, divider: 50 };
let drawn = null; // what is on the stage: { map, errors, image, other: {map, image} }
let cursor = null; // [x, y]

/* Steps that the scrubber stops at; null, the last, is the finished image and the sum of the maps. */
function stepsOfRow(row) {
  const entry = detail(row);
  const found = new Set();
  if (entry?.x0) for (let k = 0; k < run.x0_steps; k++) found.add(k);
  if (entry?.steps.length) for (let k = 0; k < run.map_steps[1]; k++) found.add(run.map_steps[0] + k);
  return found.size ? [...found].sort((a, b) => a - b).concat(null) : [null];
}

/* ---- the standard error ----------------------------------------------------------------------- */

/*
 * Half-width of a pixel's value, { error, how }, or null. A map may come with its standard error. The
 * sample variance v of M normal copies has the standard error v sqrt(2 / (M - 1)); those of several
 * steps add in squares, and where the steps were not kept their sum is the most it can be.
 */
async function errorsOf(row, m, step) {
  const map = run.maps[m];
  if (map.error !== null) {
    const error = await mapOf(row, map.error, step);
    return error?.exact ? { values: error.values, how: "" } : null;
  }
  const copies = run.settings.copies;
  if (!map.is_variance || !(copies > 1)) return null;
  const factor = Math.sqrt(2 / (copies - 1));
  const one = await mapOf(row, m, step);
  if (!one?.values) return null;
  const steps = step === null ? await stepsOf(row, m) : null;
  if (!steps) {
    const bound = step === null && run.settings.score_steps && !steps;
    return { values: one.values.map((value) => Math.abs(value) * factor), how: bound ? "at most, for normal copies" : "for normal copies" };
  }
  const size = channels * width * height;
  const values = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    let squares = 0;
    for (let k = i; k < steps.length; k += size) squares += steps[k] ** 2;
    values[i] = factor * Math.sqrt(squares);
  }
  return { values, how: "for normal copies" };
}

/* ---- drawing ---------------------------------------------------------------------------------- */

let job = 0;
async function draw() {
  const { row, map: m, step } = look;
  const mine = ++job;
  const [whole, x0, map] = await Promise.all([picture(row), step === null ? null : predicted(row, step), m >= 0 ? mapOf(row, m, step) : null]);
  const errors = map ? await errorsOf(row, m, step) : null;
  const second = other ? await Promise.all([picture(row, true), m >= 0 && step === null ? otherMapOf(row, m) : null]) : null;
  if (mine !== job || look.row !== row) return;
  const image = x0 ?? whole;
  drawn = { map, errors, image: new ImageData(image.data.slice(), width, height), other: null };
  const scale = m < 0 ? null : look.shared ? sharedScale(m, map ? step : null) : map ? rangeOf(map.pixels) : [0, 1];
  paint(left, image, map, scale);
  if (second) {
    drawn.other = { image: new ImageData(second[0].data.slice(), width, height), map: second[1] };
    paint(right, second[0], second[1], scale);
  }
  if (m >= 0) drawLegend(by("detail-legend"), m, scale);
  tell(map, x0);
  showCursor();
  dialog.dataset.drawn = `${numberOf[row]} ${step ?? "sum"}`;
}

function paint(canvas, image, map, scale) {
  if (map) blend(image, map.pixels, scale, look.opacity);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function tell(map, x0) {
  const parts = [];
  if (look.step !== null && run.x0_steps && !x0) parts.push("No prediction of x0 is kept of this step.");
  if (look.step !== null && other) parts.push(`Of ${other.name} only the finished image is here.`);
  if (look.step !== null && !map) parts.push("This step is not scored.");
  else if (run.maps.length && !map) parts.push("The page has no room for this map of this image.");
  else if (map && !map.exact) parts.push("Of this image the page holds the map in 8 bits only: values are rounded.");
  by("detail-note").textContent = parts.join(" ") || "\u00a0";
  left.setAttribute("aria-label", `Image ${numberOf[look.row]}${look.step === null ? "" : ` as predicted at step ${look.step}`}${map && look.opacity > 0 ? `, under its map ${run.maps[look.map].name}` : ""}`);
}

/* ---- the pointer ------------------------------------------------------------------------------ */

const text = (map, value) => (map.exact ? exact(value) : `≈ ${short(value, 3)}`);

function showCursor() {
  by("cursor").hidden = !cursor;
  const place = by("readout-place"), value = by("readout-value"), more = by("readout-more");
  if (!cursor || !drawn) {
    place.textContent = "Point at a pixel";
    value.textContent = more.textContent = "\u00a0";
    delete by("readout").dataset.value;
    return;
  }
  const [x, y] = cursor;
  Object.assign(by("cursor").style, { left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`, width: `${100 / width}%`, height: `${100 / height}%` });
  const beyond = drawn.other && (100 * (x + 0.5)) / width > look.divider;
  const { map, image } = beyond ? drawn.other : drawn;
  const at = y * width + x, plane = width * height;
  const pixel = Array.from(image.data.subarray(4 * at, 4 * at + (run.size[3] === 1 ? 1 : 3)));
  place.textContent = `row ${y}, column ${x} · pixel ${pixel.join(" ")}${beyond ? ` · ${other.name}` : ""}`;
  if (!map) {
    value.textContent = more.textContent = "\u00a0";
    delete by("readout").dataset.value;
    return;
  }
  const { name, unit } = run.maps[look.map];
  const errors = beyond ? null : drawn.errors;
  let error = "";
  if (errors) {
    let squares = 0;
    for (let c = 0; c < channels; c++) squares += errors.values[c * plane + at] ** 2;
    error = ` ± ${channels === 1 ? exact(errors.values[at]) : short(Math.sqrt(squares) / channels)}`;
  }
  value.textContent = `${name} ${text(map, map.pixels[at])}${error}${unit ? ` ${unit}` : ""}`;
  by("readout").dataset.value = map.pixels[at];
  const each = map.values && channels > 1 ? `channels ${Array.from({ length: channels }, (_, c) => exact(map.values[c * plane + at])).join(", ")}` : "";
  more.textContent = [each, error && errors.how ? `± ${errors.how}` : ""].filter(Boolean).join(" · ") || "\u00a0";
}

function point(event) {
  const box = stage.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * height);
  cursor = x >= 0 && y >= 0 && x < width && y < height ? [x, y] : null;
  showCursor();
}

function moveCursor(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = moves[event.key];
  if (!move) return;
  const [x, y] = cursor ?? [Math.floor(width / 2) - move[0], Math.floor(height / 2) - move[1]];
  cursor = [Math.min(width - 1, Math.max(0, x + move[0])), Math.min(height - 1, Math.max(0, y + move[1]))];
  showCursor();
  event.preventDefault();
  event.stopPropagation();
}

/* ---- controls --------------------------------------------------------------------------------- */

function setDivider(value) {
  look.divider = value;
  right.style.clipPath = `inset(0 0 0 ${value}%)`;
  by("line").style.left = `${value}%`;
  by("divider").value = value;
  showCursor();
}

function setStep(index) {
  const steps = stepsOfRow(look.row);
  look.step = steps[Math.min(index, steps.length - 1)];
  by("step").value = index;
  const words = look.step === null ? "finished; maps summed" : `step ${look.step} of ${run.settings.steps ?? "?"}`;
  by("step-text").textContent = words;
  by("step").setAttribute("aria-valuetext", words);
  return draw();
}

let playing = 0;
function play(on) {
  clearInterval(playing);
  playing = 0;
  by("play").textContent = on ? "Pause" : "Play";
  by("play").setAttribute("aria-pressed", String(on));
  if (!on) return;
  const step = by("step");
  let next = step.value === step.max ? 0 : Number(step.value);
  playing = setInterval(() => {
    setStep(next);
    if (next++ >= Number(step.max)) play(false);
  }, 160);
}

function fillScores(row) {
  const rows = run.scores.map((name, k) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, short(scores[k][row], 6))));
  by("detail-scores").replaceChildren(make("caption", { class: "quiet" }, "Scores of this image"), ...rows);
}

const neighbours = () => Array.from(kept()).filter(hasPicture);

function go(by_) {
  const rows = neighbours();
  const at = rows.indexOf(look.row);
  const to = rows[at + by_];
  if (at >= 0 && to !== undefined) show(to);
}

function show(row) {
  play(false);
  look.row = row;
  const label = labelOf[row] >= 0 ? ` · label ${labelText(labelOf[row])}` : "";
  by("detail-title").textContent = `Image ${numberOf[row]}${label}`;
  const rows = neighbours(), at = rows.indexOf(row);
  by("detail-place").textContent = at >= 0 ? `${count(at + 1)} of ${count(rows.length)}` : "";
  by("detail-previous").disabled = at <= 0;
  by("detail-next").disabled = at < 0 || at === rows.length - 1;
  by("detail-selected").checked = state.selected.has(row);
  const steps = stepsOfRow(row);
  by("scrub").hidden = steps.length === 1;
  by("step").max = steps.length - 1;
  fillScores(row);
  const index = look.step === null || !steps.includes(look.step) ? steps.length - 1 : steps.indexOf(look.step);
  return setStep(index);
}

let before = null;
export function open(row) {
  before = document.activeElement;
  cursor = null;
  look.step = null;
  if (state.map >= 0 && state.opacity > 0) look.map = state.map;
  by("detail-map").value = String(look.map);
  show(row);
  dialog.showModal();
  stage.focus({ preventScroll: true });
}

function keys(event) {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    n: () => go(1), p: () => go(-1), ArrowRight: () => go(1), ArrowLeft: () => go(-1),
    s: () => by("detail-selected").click(),
    " ": () => !by("scrub").hidden && play(!playing),
    ",": () => setStep(Math.max(0, Number(by("step").value) - 1)),
    ".": () => setStep(Math.min(Number(by("step").max), Number(by("step").value) + 1)),
  };
  if (event.target.matches("button") && event.key === " ") return;
  if (!actions[event.key]) return;
  actions[event.key]();
  event.preventDefault();
}

/* Which side is which, as far as their settings tell. */
function sideName(one) {
  return `${one.name} (${"percentile" in one.settings ? "guided" : "unguided"})`;
}

function startCompare() {
  right.hidden = !other;
  for (const id of ["line", "sides", "divider-row"]) by(id).hidden = !other;
  if (!other) return;
  by("left-name").textContent = `← ${sideName(run)}`;
  by("right-name").textContent = `${sideName(other)} →`;
  right.setAttribute("aria-label", `The same image of ${sideName(other)}`);
  by("divider").addEventListener("input", () => setDivider(Number(by("divider").value)));
  let dragging = false;
  stage.addEventListener("pointerdown", (event) => {
    const box = stage.getBoundingClientRect();
    dragging = Math.abs(event.clientX - box.left - (look.divider / 100) * box.width) < 24;
    if (dragging) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const box = stage.getBoundingClientRect();
    if (dragging) setDivider(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
  });
  stage.addEventListener("pointerup", () => (dragging = false));
  setDivider(50);
}

export function start() {
  for (const canvas of [left, right]) Object.assign(canvas, { width, height });
  stage.style.setProperty("--ratio", width / height);
  const select = by("detail-map");
  select.append(...run.maps.map((map, m) => make("option", { value: String(m) }, map.name)));
  select.addEventListener("change", () => { look.map = Number(select.value); draw(); });
  for (const id of ["detail-legend", "detail-scaling"]) by(id).hidden = run.maps.length === 0;
  for (const id of ["detail-map", "opacity"]) by(id).parentElement.hidden = run.maps.length === 0;
  by("opacity").addEventListener("input", () => { look.opacity = Number(by("opacity").value) / 100; draw(); });
  by("detail-scaling").addEventListener("change", (event) => { look.shared = event.target.value === "shared"; draw(); });
  by("step").addEventListener("input", () => { play(false); setStep(Number(by("step").value)); });
  by("play").addEventListener("click", () => play(!playing));
  by("detail-previous").addEventListener("click", () => go(-1));
  by("detail-next").addEventListener("click", () => go(1));
  by("detail-close").addEventListener("click", () => dialog.close());
  by("detail-selected").addEventListener("change", (event) => {
    if (event.target.checked) state.selected.add(look.row);
    else state.selected.delete(look.row);
    change({}, "selection");
  });
  stage.addEventListener("pointermove", point);
  stage.addEventListener("pointerdown", point);
  stage.addEventListener("keydown", moveCursor);
  dialog.addEventListener("keydown", keys);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => { play(false); before?.focus(); });
  startCompare();
}
