/* The colour scale of the maps, its legend, and laying a map over an image. */
import { run } from "./data.js";
import { make, short } from "./format.js";

const table = new Uint8Array(run.colours.match(/../g).map((digits) => parseInt(digits, 16)));
const notANumber = [0, 200, 0]; // a green that the scale lacks

/* The range of the finite values, never empty. */
export function rangeOf(pixels) {
  let low = Infinity, high = -Infinity;
  for (const value of pixels) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  return high > low ? [low, high] : [low, low + Math.max(1e-6, 0.01 * Math.abs(low))];
}

/* The scale of a run's map, or of its steps; null in the data stands for no finite number. */
export function sharedScale(map, step = null) {
  const [low, high] = step === null ? run.maps[map].scale : run.step_scales[map];
  return low === null || high === null || !(high > low) ? [0, 1] : [low, high];
}

/* image: RGBA, changed in place. opacity 0 leaves it, 1 puts the map's colours there. */
export function blend(image, pixels, [low, high], opacity) {
  const data = image.data;
  for (let i = 0; i < pixels.length; i++) {
    const position = (pixels[i] - low) / (high - low);
    const at = 3 * Math.round(255 * Math.min(1, Math.max(0, position)));
    for (let c = 0; c < 3; c++) {
      const colour = Number.isNaN(pixels[i]) ? notANumber[c] : table[at + c];
      data[4 * i + c] += (colour - data[4 * i + c]) * opacity;
    }
  }
  return image;
}

/* Fills `box` with the bar, its ticks and the unit. scale null: each image has its own. */
export function drawLegend(box, map, scale) {
  const bar = make("canvas", { "aria-hidden": "true" });
  bar.width = 256;
  bar.height = 1;
  const context = bar.getContext("2d");
  const image = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) image.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
  context.putImageData(image, 0, 0);
  const ticks = make("div", { class: "ticks" });
  for (let i = 0; i <= 4; i++) {
    const ends = ["lowest of each", "", "", "", "highest of each"];
    ticks.append(make("span", {}, scale ? short(scale[0] + (i / 4) * (scale[1] - scale[0]), 3) : ends[i]));
  }
  const { name, unit, low_is_uncertain, is_error } = run.maps[map];
  const sense = is_error ? "light: the map is less certain" : low_is_uncertain ? "dark: unsure" : "light: unsure";
  const text = unit ? `${name}, ${unit} · ${sense}` : `${name} · ${sense}`;
  box.replaceChildren(make("div", { class: "legend-name" }, text), bar, ticks);
}
