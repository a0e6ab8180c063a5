// Time an ONNX file of export_onnx.py in ONNX Runtime (CPU) and print one JSON object.
//
//   node ort_bench.mjs MODEL-bN/model.json [--threads 2] [--warmup 3] [--repeats 9] [--level all]
//
// processor_seconds are those of all threads, which spin while they wait: take them with --threads 1.
// Exit code 1 when the output is off PyTorch's or off the reference.

import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(import.meta.url);
const ort = require("onnxruntime-node");

const NPY_TYPES = {
  "<f4": { array: Float32Array, ort: "float32" },
  "<f8": { array: Float64Array, ort: "float64" },
  "<i4": { array: Int32Array, ort: "int32" },
  "<i8": { array: BigInt64Array, ort: "int64" },
};

/** Read a C-order .npy file: {data, dims, type}. */
function readNpy(file) {
  const bytes = fs.readFileSync(file);
  if (bytes.toString("latin1", 0, 6) !== "\x93NUMPY") throw new Error(`${file}: not a .npy file`);
  const wide = bytes[6] >= 2; // format 2 and 3: four bytes of header length
  const begin = wide ? 12 : 10;
  const end = begin + (wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8));
  const head = bytes.toString("latin1", begin, end);
  const descr = /'descr':\s*'([^']+)'/.exec(head)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(head)?.[1];
  const type = NPY_TYPES[descr];
  if (!type || shape === undefined || !/'fortran_order':\s*False/.test(head))
    throw new Error(`${file}: unsupported .npy header ${head.trim()}`);
  const dims = shape.split(",").filter((s) => s.trim() !== "").map(Number);
  const count = dims.reduce((a, b) => a * b, 1);
  const copy = Uint8Array.from(bytes.subarray(end)); // own buffer: aligned for any element type
  return { data: new type.array(copy.buffer, 0, count), dims, type: type.ort };
}

/** max|got-want| / max|want| over the elements of want; NaN counts as infinite. */
function maxRelErr(got, want) {
  let diff = 0;
  let size = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Math.abs(got[i] - want[i]);
    if (!Number.isFinite(d)) return Infinity;
    diff = Math.max(diff, d);
    size = Math.max(size, Math.abs(want[i]));
  }
  return diff / size;
}

function median(sorted) {
  const h = sorted.length >> 1;
  return sorted.length % 2 ? sorted[h] : (sorted[h - 1] + sorted[h]) / 2;
}

const { values: opt, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "2" },
    warmup: { type: "string", default: "3" },
    repeats: { type: "string", default: "9" },
    level: { type: "string", default: "all" }, // disabled | basic | extended | all
  },
});
const threads = Number(opt.threads);
const warmup = Number(opt.warmup);
const repeats = Number(opt.repeats);
if (positionals.length !== 1 || !(threads >= 1) || !(warmup >= 0) || !(repeats >= 1)) {
  console.error("usage: node ort_bench.mjs MODEL-bN/model.json [--threads N] [--warmup N] [--repeats N] [--level L]");
  process.exit(2);
}

const meta = JSON.parse(fs.readFileSync(positionals[0], "utf8"));
const beside = (name) => path.join(path.dirname(positionals[0]), name);

const session = await ort.InferenceSession.create(beside(meta.onnx), {
  executionProviders: ["cpu"],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: opt.level,
});
const feeds = {};
for (const [name, file] of Object.entries(meta.inputs)) {
  const { data, dims, type } = readNpy(beside(file));
  feeds[name] = new ort.Tensor(type, data, dims);
}

const seconds = [];
let output;
let cpu;
for (let i = 0; i < warmup + repeats; i++) {
  if (i === warmup) cpu = process.cpuUsage();
  const begin = process.hrtime.bigint();
  output = (await session.run(feeds))[meta.output].data;
  const took = Number(process.hrtime.bigint() - begin) / 1e9;
  if (i >= warmup) seconds.push(took);
}
const used = process.cpuUsage(cpu);
seconds.sort((a, b) => a - b);

const errTorch = maxRelErr(output, readNpy(beside(meta.torch_output)).data);
const errRef = meta.reference ? maxRelErr(output, readNpy(beside(meta.reference)).data) : null;
const agrees = errTorch < meta.tolerance && (errRef === null || errRef < meta.tolerance);
const round = (x, digits) => Number(x.toFixed(digits));
console.log(
  JSON.stringify({
    peer: "onnxruntime",
    version: ort.env?.versions?.node ?? require("onnxruntime-node/package.json").version,
    model: meta.model,
    batch: meta.batch,
    threads,
    seconds: round(median(seconds), 6),
    seconds_min: round(seconds[0], 6),
    seconds_max: round(seconds.at(-1), 6),
    processor_seconds: round((used.user + used.system) / 1e6 / repeats, 6),
    repeats,
    peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    gflop: round(meta.flop / 1e9, 4),
    gflops: round(meta.flop / median(seconds) / 1e9, 1),
    max_rel_err_torch: errTorch,
    max_rel_err_reference: errRef,
    agrees,
  }),
);
if (!agrees) {
  console.error("ort_bench: output is off PyTorch's or the reference");
  process.exitCode = 1;
}
