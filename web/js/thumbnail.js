/* A canvas of one image, with its map over it as the reader wants it. */
import { run, width, height, picture, mapOf, hasPicture, numberOf, labelOf, labelText } from "./data.js";
import { blend, rangeOf, sharedScale } from "./colour.js";
import { nameOf, state, valuesOf } from "./state.js";
import { make, short } from "./format.js";

export function describe(row) {
  const label = labelOf[row] >= 0 ? `, label ${labelText(labelOf[row])}` : "";
  const score = state.score >= 0 ? `, ${nameOf(state.score)} ${short(valuesOf(state.score)[row])}` : "";
  return `Image ${numberOf[row]}${label}${score}`;
}

export function thumbnail(row) {
  const canvas = make("canvas", { width, height, role: "img", "aria-label": describe(row) });
  canvas.style.aspectRatio = `${width} / ${height}`;
  draw(canvas, row);
  return canvas;
}

/* What is drawn last is what was asked for last. */
const wanted = new WeakMap();
export async function draw(canvas, row) {
  const job = {};
  wanted.set(canvas, job);
  canvas.classList.toggle("absent", !hasPicture(row));
  const image = await picture(row);
  if (image && state.opacity > 0 && state.map >= 0) {
    const map = await mapOf(row, state.map);
    if (map) blend(image, map.pixels, state.shared ? sharedScale(state.map) : rangeOf(map.pixels), state.opacity);
  }
  if (image && wanted.get(canvas) === job) canvas.getContext("2d").putImageData(image, 0, 0);
}

/* Maps that every picture of the page has: in a sampled page only the shown one. */
export const mapEverywhere = (map) => map === run.shown;
