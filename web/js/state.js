/* What the reader has chosen, the orders that follow from it, and who wants to know. */
import { run, rows, numberOf, labelOf, scores } from "./data.js";
import { sorted, reversed } from "./order.js";

const shownScore = run.shown >= 0 ? run.scores.indexOf(run.maps[run.shown].name) : -1;

export const state = {
  score: shownScore >= 0 ? shownScore : run.scores.length ? 0 : -1, // -1: by number
  ascending: true,
  keep: Infinity, // images of the order, from its beginning
  labels: null, // a set of those wanted; null: all
  opacity: 0,
  map: run.shown,
  shared: true,
  page: 0,
  selected: new Set(),
};

const listeners = [];
/* `what` is a set of words: order, view, page, selection. */
export const listen = (listener) => listeners.push(listener);
export function change(changes, ...what) {
  Object.assign(state, changes);
  const parts = new Set(what);
  for (const listener of listeners) listener(parts);
}

export const valuesOf = (score) => (score < 0 ? numberOf : scores[score]);
export const nameOf = (score) => (score < 0 ? "image number" : run.scores[score]);

const orders = new Map();
function wholeOrder(score, ascending) {
  const key = `${score} ${ascending}`;
  if (!orders.has(key)) orders.set(key, (ascending ? sorted : reversed)(valuesOf(score), numberOf));
  return orders.get(key);
}

let labelled = { key: "", rows: [] };
/* Rows with the wanted labels in the chosen order. */
export function order() {
  const key = `${state.score} ${state.ascending} ${state.labels ? [...state.labels] : "all"}`;
  if (labelled.key !== key) {
    const whole = wholeOrder(state.score, state.ascending);
    labelled = { key, rows: state.labels ? whole.filter((row) => state.labels.has(labelOf[row])) : whole };
  }
  return labelled.rows;
}

export const keptCount = () => Math.min(state.keep, order().length);
export const kept = () => order().subarray(0, keptCount());

export const allLabels = [...new Set(labelOf)].filter((label) => label >= 0).sort((a, b) => a - b);
export const complete = rows === run.images;
