/* What the tests share: a browser, pages that must not complain or ask the network, arrays. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const work = process.env.WEB_WORK;
const { chromium } = createRequire(join(work, "package.json"))("playwright-core");

let browser = null;
export async function openBrowser() {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
}
export const closeBrowser = () => browser.close();

export const desktop = { width: 1280, height: 860 };
export const phone = { width: 390, height: 844 };

/* Runs `body` on a page; afterwards nothing was logged, thrown or requested but the file itself. */
export async function withPage(file, options, body) {
  const context = await browser.newContext({ viewport: desktop, acceptDownloads: true, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`thrown: ${error.message}`));
  page.on("request", (request) => {
    const url = request.url();
    if (url !== pathToFileURL(join(work, file)).href && !url.startsWith("blob:")) faults.push(`request: ${url}`);
  });
  await page.goto(pathToFileURL(join(work, file)).href);
  await page.waitForSelector("html[data-ready]");
  await body(page);
  await context.close();
  assert.deepEqual(faults, []);
}

export const screenshot = (page, name) => page.screenshot({ path: join(work, "screenshots", `${name}.png`) });

/* A float32 .npy in C order: { shape, data }. */
export function npy(file) {
  const bytes = readFileSync(join(work, file));
  assert.equal(bytes.toString("latin1", 1, 6), "NUMPY");
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, start);
  assert.match(header, /'descr': '<f4', 'fortran_order': False/);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((n) => n.trim()).map(Number);
  return { shape, data: new Float32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length)) };
}

/* scores.csv as { names, rows }. */
export function table(file) {
  const [head, ...lines] = readFileSync(join(work, file), "utf8").trim().split("\n");
  const names = head.split(",");
  return { names, rows: lines.map((line) => Object.fromEntries(line.split(",").map((text, k) => [names[k], Number(text)]))) };
}

/* Numbers of the images on the present page of the gallery, in its order. */
export const galleryNumbers = (page) =>
  page.$$eval("#cards .open", (cards) => cards.map((card) => Number(/^Image (\d+)/.exec(card.getAttribute("aria-label"))[1])));

/* Sets a slider as dragging would. */
export const slide = (page, selector, value) =>
  page.locator(selector).evaluate((input, to) => {
    input.value = to;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }, value);

/* Opens the detail view of the first image of the gallery and waits until it is drawn; its number. */
export async function openFirst(page) {
  const [number] = await galleryNumbers(page);
  await page.click("#cards .open");
  await drawn(page, number, "sum");
  return number;
}
export const drawn = (page, number, step) => page.waitForSelector(`#detail[data-drawn="${number} ${step}"]`);

/* Puts the pointer on a pixel; the value that the page then knows, and the text that it shows. */
export async function pointAt(page, x, y, width = 32, height = 32) {
  const box = await page.locator("#stage").boundingBox();
  await page.mouse.move(box.x + ((x + 0.5) / width) * box.width, box.y + ((y + 0.5) / height) * box.height);
  await page.waitForFunction(([row, column]) => document.getElementById("readout-place").textContent.startsWith(`row ${row}, column ${column} `), [y, x]);
  return { value: Number(await page.getAttribute("#readout", "data-value")), text: await page.textContent("#readout-value") };
}
