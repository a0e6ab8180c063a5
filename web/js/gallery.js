/* The images in order, page by page; selecting them and taking the list along. */
import { hasLabels, hasPicture, labelOf, labelText, numberOf, run } from "./data.js";
import { change, complete, kept, keptCount, listen, nameOf, order, state, valuesOf } from "./state.js";
import { describe, draw, thumbnail } from "./thumbnail.js";
import { drawLegend, sharedScale } from "./colour.js";
import { count, make, quoted, short } from "./format.js";

const PAGE = 60;
const by = (id) => document.getElementById(id);
const cards = by("cards");

/* Kept images that the page has a picture of. */
const pictured = () => kept().filter(hasPicture);

function makeCard(row, open) {
  const check = make("input", { type: "checkbox", tabindex: "-1", "aria-label": `Select image ${numberOf[row]}`, checked: state.selected.has(row) });
  check.addEventListener("change", () => select(row, check.checked));
  const score = state.score >= 0 ? short(valuesOf(state.score)[row]) : "";
  const label = hasLabels ? ` · ${labelText(labelOf[row])}` : "";
  const button = make("button", { type: "button", tabindex: "-1", class: "open", "aria-label": describe(row) }, thumbnail(row),
    make("span", { class: "caption", "aria-hidden": "true" }, make("span", { class: "quiet" }, `#${numberOf[row]}${label}`), make("span", {}, score)));
  button.firstChild.setAttribute("role", "presentation");
  button.addEventListener("click", () => open(row));
  const card = make("div", { class: "card" }, button, check);
  card.dataset.row = row;
  card.classList.toggle("selected", check.checked);
  return card;
}

function select(row, on) {
  if (on) state.selected.add(row);
  else state.selected.delete(row);
  change({}, "selection");
}

function fill(open) {
  const rows = pictured();
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const page = Math.min(state.page, pages - 1);
  const first = page * PAGE, part = Array.from(rows.subarray(first, first + PAGE));
  cards.replaceChildren(...part.map((row) => makeCard(row, open)));
  if (part.length === 0) cards.append(make("p", { class: "quiet" }, run.images ? "No image is kept." : "This run holds no images."));
  else cards.firstChild.firstChild.tabIndex = 0;
  by("where").textContent = part.length ? `${count(first + 1)}–${count(first + part.length)} of ${count(rows.length)}` : "";
  by("previous").disabled = page === 0;
  by("next").disabled = page === pages - 1;
}

function tellSelection() {
  for (const card of cards.querySelectorAll(".card")) {
    const on = state.selected.has(Number(card.dataset.row));
    card.classList.toggle("selected", on);
    card.querySelector("input").checked = on;
  }
  by("selected").textContent = state.selected.size ? `${count(state.selected.size)} selected` : "none selected";
  const what = state.selected.size ? `${count(state.selected.size)} selected` : `${count(keptCount())} kept`;
  by("export-what").textContent = `${what} images`;
  by("download").disabled = by("copy-list").disabled = list().length === 0;
  const order = state.ascending ? "lowest" : "highest";
  const whole = !state.selected.size && state.score >= 0 && !state.labels;
  by("filter-command").textContent = `aleat filter ${quoted(run.name)} ` + (whole
    ? `--keep ${keptCount()} --by ${quoted(nameOf(state.score))} --order ${order} -o KEPT`
    : "--list images.txt -o KEPT");
}

/* Numbers of the selected images, or of the kept ones, in the chosen order. */
function list() {
  const rows = state.selected.size ? Array.from(order()).filter((row) => state.selected.has(row)) : Array.from(kept());
  const hidden = state.selected.size ? [...state.selected].filter((row) => !rows.includes(row)) : [];
  return [...rows, ...hidden].map((row) => `${numberOf[row]}\n`).join("");
}

function download() {
  const url = URL.createObjectURL(new Blob([list()], { type: "text/plain" }));
  const link = make("a", { href: url, download: "images.txt" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not given to pages from a file everywhere
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = before), 1200);
}

/* Arrow keys go from card to card; there is one place for Tab. */
function walk(event) {
  const all = [...cards.querySelectorAll(".open")];
  const at = all.indexOf(document.activeElement);
  if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const columns = getComputedStyle(cards).gridTemplateColumns.split(" ").length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: all.length - 1 - at };
  if (event.key === "s" || event.key === "S") {
    const row = Number(all[at].parentElement.dataset.row);
    select(row, !state.selected.has(row));
  } else if (event.key === "PageDown" || event.key === "PageUp") {
    by(event.key === "PageDown" ? "next" : "previous").click();
    cards.querySelector(".open")?.focus();
  } else if (event.key in steps) {
    const to = all[Math.min(all.length - 1, Math.max(0, at + steps[event.key]))];
    all[at].tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  } else {
    return;
  }
  event.preventDefault();
}

function startView() {
  by("view").addEventListener("change", (event) => change({ opacity: Number(event.target.value) }, "view"));
  by("scaling").addEventListener("change", (event) => change({ shared: event.target.value === "shared" }, "view"));
  const select = by("map");
  select.append(...run.maps.map((map, m) => make("option", { value: String(m) }, map.name)));
  select.value = String(state.map);
  select.addEventListener("change", () => change({ map: Number(select.value) }, "view"));
  for (const id of ["view", "scaling", "map-choice"]) by(id).hidden = run.maps.length === 0;
}

function drawView() {
  by("legend").hidden = run.maps.length === 0;
  if (run.maps.length) drawLegend(by("legend"), state.map, state.shared ? sharedScale(state.map) : null);
}

export function start(open) {
  startView();
  by("previous").addEventListener("click", () => change({ page: state.page - 1 }, "page"));
  by("next").addEventListener("click", () => change({ page: state.page + 1 }, "page"));
  by("select-kept").addEventListener("click", () => change({ selected: new Set(kept()) }, "selection"));
  by("select-none").addEventListener("click", () => change({ selected: new Set() }, "selection"));
  by("download").addEventListener("click", download);
  by("copy-list").addEventListener("click", () => copy(list(), by("copy-list")));
  cards.addEventListener("keydown", walk);
  if (!complete) by("select-kept").title = "of the images whose scores are in this page";
  const update = (what) => {
    if (what.has("order") || what.has("keep") || what.has("page")) fill(open);
    else if (what.has("view")) for (const card of cards.querySelectorAll(".card")) draw(card.querySelector("canvas"), Number(card.dataset.row));
    if (what.has("view")) drawView();
    tellSelection();
  };
  listen(update);
  update(new Set(["order", "view"]));
}
