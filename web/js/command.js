/* The command line that makes a run again, from its settings. */
import { quoted } from "./format.js";

/* Settings and the options that they come from; those that may be left out at their defaults, too. */
const options = [
  ["images", "-n"], ["seed", "--seed"], ["labels", "--labels"], ["rng", "--rng"], ["steps", "--steps"],
  ["sampler", "--sampler"], ["eta", "--eta"], ["precision", "--precision"], ["height", "--height"], ["width", "--width"],
];
const scored = [["copies", "--copies"], ["score_steps", "--score-steps"], ["maps", "--maps"], ["shown", "--show"], ["copies_clip", "--clip"]];
const guided = [["percentile", "--percentile"], ["strength", "--strength"], ["guide_steps", "--guide-steps"], ["guide_sign", "--guide-sign"]];
/* Arrays that settings know by their hash only. */
const arrays = [["labels_sha256", "--labels", "LABELS.npy"], ["initial_sha256", "--init", "XT.npy"], ["step_noise_sha256", "--noise-dir", "NOISE"], ["copy_noise_sha256", "--noise-dir", "NOISE"]];

/* { text, missing }: missing names the files that the settings know by hash only. */
export function commandOf({ settings, model, name }) {
  const words = ["aleat", "generate", quoted(String(model ?? "MODEL"))];
  const put = (list) => {
    for (const [key, option] of list)
      if (key in settings) words.push(option, quoted(String(settings[key])));
  };
  put(options);
  const variant = /\.(\w+)\.safetensors$/.exec(settings.weights ?? "");
  if (variant) words.push("--variant", quoted(variant[1]));
  if ("score_steps" in settings) words.push("--uncertainty");
  if ("percentile" in settings) words.push("--guide");
  if ("copies" in settings) put(scored);
  if ("percentile" in settings) put(guided);
  if (settings.x0_steps === true) words.push("--keep-x0");
  if (settings.trajectory === true) words.push("--trajectory", "TRAJECTORY.npy");
  const missing = [];
  for (const [key, option, file] of arrays) {
    if (!(key in settings)) continue;
    if (!words.includes(option)) words.push(option, file);
    missing.push(`${file}: ${key} ${settings[key]}`);
  }
  words.push("-o", quoted(String(name)));
  return { text: words.join(" "), missing };
}
