/* Puts the page together. */
import { run, rows } from "./data.js";
import { count, make, short } from "./format.js";
import { start as startCurves } from "./curves.js";
import { open, start as startDetail } from "./detail.js";
import { copy, start as startGallery } from "./gallery.js";
import { start as startScores } from "./scores.js";

const by = (id) => document.getElementById(id);

function tellRun() {
  const { settings } = run;
  const [, height, width] = run.size;
  by("name").textContent = run.name;
  document.title = `${run.name} – aleat`;
  by("summary").textContent = [
    `${count(run.images)} images of ${width} × ${height}`, settings.family,
    settings.sampler && `${settings.sampler}, ${settings.steps} steps`,
    "seed" in settings && `seed ${settings.seed}`, "percentile" in settings && "guided",
  ].filter(Boolean).join(" · ");
}

/* What is not in the page, said once at its top. */
function tellNotes() {
  const pictures = run.atlases.reduce((sum, [n]) => sum + n, 0);
  const notes = [];
  if (rows < run.images) notes.push(`Of ${count(run.images)} images this page holds the scores of ${count(rows)}`);
  if (pictures < run.images) notes.push(`pictures of ${count(pictures)} of ${count(run.images)} images: the lowest and highest by every score, and a seeded random sample`);
  if (run.maps.length && run.details.length < run.images) notes.push(`maps as float32, for exact values under the pointer, of ${count(run.details.length)}`);
  const stepped = run.details.filter((detail) => detail.steps.length || detail.x0).length;
  if ((run.map_steps[1] || run.x0_steps) && stepped < run.images) notes.push(`single steps of ${count(stepped)}`);
  if (notes.length) notes.unshift("The page is a selection");
  if (!run.scores.length) notes.push(run.images ? "The run has no scores" : "The run holds no images");
  by("notes").textContent = notes.length ? `${notes.join("; ")}.` : "";
  by("notes").hidden = notes.length === 0;
}

function tellSettings() {
  if (typeof run.command === "string") {
    by("command").textContent = run.command;
    by("copy-command").addEventListener("click", () => copy(run.command, by("copy-command")));
  } else by("reproduce").hidden = true; // a run by the library
  const last = Object.entries(run.this_session ?? {}).map(([key, value]) => [`last call: ${key}`, value]);
  const told = { ...run.settings, ...Object.fromEntries(last) };
  const plain = (value) => (typeof value === "string" ? value : typeof value === "number" ? short(value, 6) : JSON.stringify(value));
  by("settings").append(...Object.entries(told).map(([key, value]) => make("div", {}, make("dt", {}, key.replaceAll("_", " ")), make("dd", {}, plain(value)))));
}

function startTheme() {
  const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const tell = () => (by("theme").textContent = dark() ? "Light" : "Dark");
  by("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    tell();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  tell();
}

tellRun();
tellNotes();
tellSettings();
startTheme();
document.querySelector("main").hidden = false;
startDetail();
startScores(open);
startGallery(open);
startCurves();
document.documentElement.dataset.ready = "true";
