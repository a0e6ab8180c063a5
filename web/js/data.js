/*
 * What the page holds: the JSON, and blocks of base64 that are decoded when they are first needed.
 * The kinds of blocks are those that src/report/report.c writes.
 */

export const run = JSON.parse(document.getElementById("run").textContent);
export const channels = run.size[0];
export const height = run.size[1];
export const width = run.size[2];

function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/* Numbers were split into planes of bytes: put them together again. */
function joinBytes(bytes, size) {
  const n = bytes.length / size;
  const joined = new Uint8Array(bytes.length);
  for (let b = 0; b < size; b++) for (let i = 0; i < n; i++) joined[i * size + b] = bytes[b * n + i];
  return joined.buffer;
}

/* Decoded blocks by id, the latest `most` of them. */
class Cache {
  constructor(most) {
    this.most = most;
    this.held = new Map();
  }
  get(id, make) {
    let value = this.held.get(id);
    if (value === undefined) value = make();
    this.held.delete(id);
    this.held.set(id, value);
    if (this.held.size > this.most) this.held.delete(this.held.keys().next().value);
    return value;
  }
}

const arrays = new Cache(400);
const pictures = new Cache(64);

/* A promise of the block's numbers, in an array of the given type. */
export function numbers(id, Type = Float32Array) {
  return arrays.get(id, async () => new Type(joinBytes(await inflate(bytesOf(id)), Type.BYTES_PER_ELEMENT)));
}

function bitmap(id) {
  return pictures.get(id, () =>
    createImageBitmap(new Blob([bytesOf(id)], { type: "image/png" }), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    }));
}

/* ---- the table and what is known of each row ---------------------------------------------------- */

const own = (id) => numbers(id, Float64Array);
const tables = await Promise.all([own("t-number"), own("t-label"), own("t-place"), own("g-place"),
  run.shown >= 0 ? numbers("g-range") : null, ...run.scores.map((_, k) => own(`t-${k}`))]);

export const numberOf = tables[0];
export const labelOf = tables[1];
export const scores = tables.slice(5);
export const rows = numberOf.length;
/* "3 Dress", or the number alone where the model has no names. */
export function labelText(label) {
  const name = run.class_names?.[label];
  return name ? `${label} ${name}` : String(label);
}
export const hasLabels = labelOf.some((label) => label >= 0);

const ranges = tables[4];
const rowOfPlace = new Map(Array.from(tables[2], (place, row) => [place, row]));
const pictureOf = new Int32Array(rows).fill(-1);
tables[3].forEach((place, picture) => (pictureOf[rowOfPlace.get(place)] = picture));
const detailOf = new Map(run.details.map((detail) => [rowOfPlace.get(detail.place), detail]));

/* Where a picture is: its atlas and its place in it. */
function spot(picture) {
  for (let atlas = 0, left = picture; ; atlas++) {
    const [count, columns] = run.atlases[atlas];
    if (left < count) return { atlas, x: (left % columns) * width, y: Math.floor(left / columns) * height };
    left -= count;
  }
}

export const hasPicture = (row) => pictureOf[row] >= 0;
export const detail = (row) => detailOf.get(row);

const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
scratch.canvas.width = width;
scratch.canvas.height = height;

function cut(image, x, y) {
  scratch.globalCompositeOperation = "copy";
  scratch.drawImage(image, x, y, width, height, 0, 0, width, height);
  return scratch.getImageData(0, 0, width, height);
}

/* The image of a row as RGBA; of the other run if asked for; null if the page has none. */
export async function picture(row, other = false) {
  if (!hasPicture(row)) return null;
  const { atlas, x, y } = spot(pictureOf[row]);
  const image = await bitmap(`${other ? "o" : "p"}-${atlas}`);
  return cut(image, x, y);
}

/* The prediction of x0 at a sampling step, or null. */
export async function predicted(row, step) {
  const entry = detailOf.get(row);
  if (!entry?.x0 || step >= run.x0_steps) return null;
  const columns = Math.ceil(Math.sqrt(run.x0_steps));
  const image = await bitmap(`x-${entry.place}`);
  return cut(image, (step % columns) * width, Math.floor(step / columns) * height);
}

/* ---- maps --------------------------------------------------------------------------------------- */

/* Mean over the channels of [C,H,W] at `offset`, as the library draws it: in double, then float32. */
function overChannels(values, offset) {
  const plane = width * height;
  const mean = new Float32Array(plane);
  for (let i = 0; i < plane; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += values[offset + c * plane + i];
    mean[i] = sum / channels;
  }
  return mean;
}

/*
 * A map of a row: { pixels [H,W], values [C,H,W] or null, exact }. At a scored step, or summed over
 * them if step is null. null if the page has it neither exactly nor in 8 bits.
 */
export async function mapOf(row, map, step = null) {
  const entry = detailOf.get(row);
  const size = channels * width * height;
  if (step !== null) {
    const k = step - run.map_steps[0];
    if (k < 0 || k >= run.map_steps[1] || !entry?.steps.includes(map)) return null;
    const values = (await numbers(`k-${entry.place}-${map}`)).subarray(k * size, (k + 1) * size);
    return { pixels: overChannels(values, 0), values, exact: true };
  }
  if (entry?.sums.includes(map)) {
    const values = await numbers(`s-${entry.place}-${map}`);
    return { pixels: overChannels(values, 0), values, exact: true };
  }
  if (map !== run.shown || !hasPicture(row)) return null;
  const { atlas, x, y } = spot(pictureOf[row]);
  const bytes = cut(await bitmap(`m-${atlas}`), x, y).data;
  const [low, high] = ranges.subarray(2 * pictureOf[row], 2 * pictureOf[row] + 2);
  const pixels = new Float32Array(width * height);
  for (let i = 0; i < pixels.length; i++)
    pixels[i] = bytes[4 * i] === 255 ? NaN : low + (bytes[4 * i] / 254) * (high - low);
  return { pixels, values: null, exact: false };
}

/* The other run's map of the same name, or null. */
export async function otherMapOf(row, map) {
  const entry = detailOf.get(row);
  const m = run.other ? run.other.maps.findIndex((other) => other.name === run.maps[map]?.name) : -1;
  if (m < 0 || !entry?.others.includes(m)) return null;
  const values = await numbers(`u-${entry.place}-${m}`);
  return { pixels: overChannels(values, 0), values, exact: true };
}

/* All steps of a map of a row, [S,C,H,W], or null. */
export function stepsOf(row, map) {
  const entry = detailOf.get(row);
  return entry?.steps.includes(map) ? numbers(`k-${entry.place}-${map}`) : null;
}
