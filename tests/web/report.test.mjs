import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { closeBrowser, desktop, drawn, galleryNumbers, npy, openBrowser, openFirst, phone, pointAt, screenshot, slide, table, withPage, work } from "./page.mjs";

const FIRST_SCORED = 6; // of the runs that tests/web/run makes
const PIXELS = [[0, 0], [31, 31], [16, 15], [7, 20], [20, 9]];
const page = "plain/report.html";
const { rows } = table("plain/scores.csv");

before(openBrowser);
after(closeBrowser);

/* Image numbers by a column, ties by number. */
const by = (column, sign = 1) => [...rows].sort((a, b) => sign * (a[column] - b[column]) || a.index - b.index).map((row) => row.index);

test("the gallery is sorted by any score, in both orders", () =>
  withPage(page, {}, async (p) => {
    for (const [k, column] of ["eps-var", "x0-var", "post-var", "post-var-se"].entries()) {
      await p.selectOption("#score", String(k));
      assert.deepEqual(await galleryNumbers(p), by(column).slice(0, 60), column);
      await p.click("#direction");
      assert.deepEqual(await galleryNumbers(p), by(column, -1).slice(0, 60), `${column}, highest first`);
      await p.click("#direction");
    }
    await p.selectOption("#score", "-1");
    assert.deepEqual(await galleryNumbers(p), rows.map((row) => row.index).slice(0, 60));
    await p.click("#next");
    assert.deepEqual(await galleryNumbers(p), [60, 61, 62, 63]);
  }));

test("the slider keeps the beginning of the order and says how many", () =>
  withPage(page, {}, async (p) => {
    await slide(p, "#keep", 10);
    assert.deepEqual(await galleryNumbers(p), by("x0-var").slice(0, 10));
    assert.match(await p.textContent("#kept"), /^10 of 64 \(15\.6%\), x0-var ≤ /);
    await slide(p, "#keep", 0);
    assert.deepEqual(await galleryNumbers(p), []);
    assert.match(await p.textContent("#kept"), /^0 of 64 \(0%\)/);
    await slide(p, "#keep", 64);
    assert.match(await p.textContent("#kept"), /^64 of 64 \(100%\)$/);
    await p.locator("#keep").focus();
    await p.keyboard.press("ArrowLeft");
    assert.match(await p.textContent("#kept"), /^63 of 64/);
  }));

test("labels filter, strips show both ends", () =>
  withPage(page, {}, async (p) => {
    await p.click("#labels button:text('none')");
    await p.locator("#labels input[value='3']").check({ force: true });
    assert.equal(await p.locator("#labels label", { has: p.locator("input[value='3']") }).textContent(), "3 Dress");
    const wanted = by("x0-var").filter((index) => rows[index].label === 3);
    assert.deepEqual(await galleryNumbers(p), wanted);
    const strip = (id) => p.$$eval(`#${id} canvas`, (all) => all.map((one) => Number(/\d+/.exec(one.getAttribute("aria-label"))[0])));
    assert.deepEqual(await strip("lowest"), wanted.slice(0, 12));
    assert.deepEqual(await strip("highest"), wanted.slice(-12).reverse());
  }));

test("the exported list holds the kept images, or the selected ones, one a line", () =>
  withPage(page, {}, async (p) => {
    const list = async () => {
      const [download] = await Promise.all([p.waitForEvent("download"), p.click("#download")]);
      return readFileSync(await download.path(), "utf8");
    };
    await slide(p, "#keep", 5);
    assert.equal(await list(), by("x0-var").slice(0, 5).map((n) => `${n}\n`).join(""));
    await p.locator("#cards .card input").nth(3).check({ force: true });
    await p.locator("#cards .card input").nth(1).check({ force: true });
    assert.equal(await p.textContent("#selected"), "2 selected");
    const order = by("x0-var");
    assert.equal(await list(), `${order[1]}\n${order[3]}\n`);
  }));

test("values under the pointer are those of the .npy files, with their standard errors", () =>
  withPage(page, {}, async (p) => {
    const number = await openFirst(p);
    const files = { "eps-var": "uncertainty", "x0-var": "x0-var", "post-var": "post-var", "post-var-se": "post-var-se" };
    const errors = npy("plain/post-var-se.npy");
    for (const [k, [name, file]] of Object.entries(files).entries()) {
      const { data } = npy(`plain/${file}.npy`);
      await p.evaluate(() => delete document.getElementById("detail").dataset.drawn);
      await p.selectOption("#detail-map", String(k));
      await drawn(p, number, "sum");
      for (const [x, y] of PIXELS) {
        const want = data[number * 1024 + y * 32 + x];
        const { value, text } = await pointAt(p, x, y);
        assert.equal(value, want, `${name} at ${x},${y}`);
        const [, told, , error] = new RegExp(`^${name} (\\S+)( ± (\\S+))?`).exec(text);
        assert.equal(Math.fround(Number(told)), want, text);
        if (name === "post-var") assert.equal(Math.fround(Number(error)), errors.data[number * 1024 + y * 32 + x], text);
      }
    }
  }));

test("the standard error of a sample variance follows from the copies, step by step", () =>
  withPage(page, {}, async (p) => {
    const number = await openFirst(p);
    const { data, shape } = npy("plain/x0-var-steps.npy");
    const [x, y] = [16, 15];
    const values = Array.from({ length: shape[1] }, (_, k) => data[(number * shape[1] + k) * 1024 + y * 32 + x]);
    const want = Math.sqrt(2 / 4) * Math.hypot(...values); // 5 copies
    const { text } = await pointAt(p, x, y);
    const told = Number(/± (\S+)/.exec(text)[1]);
    assert.ok(Math.abs(told - want) <= 1e-6 * want, `${text}, expected ${want}`);
  }));

test("the scrubber shows x0 and the map of every step", () =>
  withPage(page, {}, async (p) => {
    const number = await openFirst(p);
    const x0 = npy("plain/x0-steps.npy"), maps = npy("plain/x0-var-steps.npy");
    assert.equal(x0.shape[1], 10);
    await slide(p, "#opacity", 0);
    for (const step of [0, 5, 6, 9]) {
      await slide(p, "#step", step);
      await drawn(p, number, step);
      const [x, y] = [16, 15];
      const at = (number * 10 + step) * 1024 + y * 32 + x;
      const pixel = Math.round(Math.min(255, Math.max(0, (x0.data[at] / 2 + 0.5) * 255)));
      const { value } = await pointAt(p, x, y);
      assert.match(await p.textContent("#readout-place"), new RegExp(`pixel ${pixel}$`));
      if (step < FIRST_SCORED) {
        assert.match(await p.textContent("#detail-note"), /not scored/);
        assert.equal(await p.getAttribute("#readout", "data-value"), null);
      } else {
        assert.equal(value, maps.data[(number * 4 + step - FIRST_SCORED) * 1024 + y * 32 + x]);
      }
    }
    const canvas = () => p.locator("#left").evaluate((one) => one.toDataURL());
    const last = await canvas();
    await p.locator("#step").focus();
    await p.keyboard.press("Home");
    await drawn(p, number, 0);
    assert.notEqual(await canvas(), last);
  }));

test("the scale is shared or the image's own", () =>
  withPage(page, {}, async (p) => {
    await openFirst(p);
    const ticks = () => p.$$eval("#detail-legend .ticks span", (all) => all.map((one) => one.textContent));
    const shared = await ticks();
    await p.locator("#detail-scaling input[value='own']").check({ force: true });
    await p.waitForFunction((before) => document.querySelector("#detail-legend .ticks span:last-child").textContent !== before, shared[4]);
    const number = by("x0-var")[0];
    const pixels = npy("plain/x0-var.npy").data.subarray(number * 1024, (number + 1) * 1024);
    assert.equal(Number((await ticks())[4]), Number(Math.max(...pixels).toPrecision(3)));
  }));

test("everything can be reached by the keyboard", () =>
  withPage(page, {}, async (p) => {
    const focused = () => p.evaluate(() => document.activeElement.getAttribute("aria-label"));
    await p.locator("#cards .open").first().focus();
    await p.keyboard.press("ArrowRight");
    const order = by("x0-var");
    assert.match(await focused(), new RegExp(`^Image ${order[1]},`));
    await p.keyboard.press("End");
    assert.match(await focused(), new RegExp(`^Image ${order[59]},`));
    await p.keyboard.press("Home");
    await p.keyboard.press("s");
    assert.equal(await p.textContent("#selected"), "1 selected");
    await p.keyboard.press("Enter");
    await drawn(p, order[0], "sum");
    await p.keyboard.press("ArrowRight"); // the stage has the focus: the pixel cursor
    assert.match(await p.textContent("#readout-place"), /^row 16, column 16 /);
    await p.keyboard.press("n");
    await drawn(p, order[1], "sum");
    await p.keyboard.press(",");
    await drawn(p, order[1], 9);
    await p.keyboard.press("Escape");
    assert.equal(await p.locator("#detail").evaluate((dialog) => dialog.open), false);
    assert.match(await focused(), new RegExp(`^Image ${order[0]},`));
    await p.keyboard.press("PageDown");
    assert.match(await focused(), new RegExp(`^Image ${order[60]},`));
    const nameless = await p.$$eval("button, input, select, canvas[role=img], svg[role=img]", (all) =>
      all.filter((one) => !one.closest("[hidden]") && !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length)).map((one) => one.outerHTML.slice(0, 80)));
    assert.deepEqual(nameless, []);
  }));

test("guided and unguided lie beside each other under a divider", () =>
  withPage("compare.html", {}, async (p) => {
    const number = await openFirst(p);
    const sides = { 5: npy("plain/x0-var.npy"), 26: npy("guided/x0-var.npy") };
    for (const [x, { data }] of Object.entries(sides))
      assert.equal((await pointAt(p, Number(x), 15)).value, data[number * 1024 + 15 * 32 + Number(x)]);
    await slide(p, "#divider", 100);
    assert.equal((await pointAt(p, 26, 15)).value, sides[5].data[number * 1024 + 15 * 32 + 26]);
    assert.equal(await p.textContent("#right-name"), "guided (guided) →");
    await slide(p, "#divider", 50);
    const box = await p.locator("#stage").boundingBox();
    await p.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await p.mouse.down();
    await p.mouse.move(box.x + box.width / 4, box.y + box.height / 2, { steps: 4 });
    await p.mouse.up();
    assert.ok(Math.abs(Number(await p.inputValue("#divider")) - 25) <= 1);
    await screenshot(p, "compare");
  }));

test("curves are the means and deviations of scores.csv", () =>
  withPage(page, {}, async (p) => {
    const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
    const cells = await p.$$eval("#curve-table tbody tr", (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
    const check = (told, list) => {
      const m = mean(list), sd = Math.sqrt(list.reduce((sum, value) => sum + (value - m) ** 2, 0) / (list.length - 1));
      const [a, b] = told.split(" ± ").map(Number);
      assert.ok(Math.abs(a - m) <= 6e-4 * m && Math.abs(b - sd) <= 6e-4 * sd, `${told}, expected ${m} ± ${sd}`);
    };
    assert.equal(cells.length, 11);
    for (let k = 0; k < 4; k++) {
      check(cells[0][2 + k], rows.map((row) => row[`x0-var@${FIRST_SCORED + k}`]));
      check(cells[4][2 + k], rows.filter((row) => row.label === 3).map((row) => row[`x0-var@${FIRST_SCORED + k}`]));
    }
    await p.click("#groups button");
    assert.equal(await p.locator("#chart .curve").count(), 10);
  }));

test("a page that is too small for the run says so and keeps both ends exact", () =>
  withPage("small.html", {}, async (p) => {
    assert.ok(statSync(join(work, "small.html")).size <= 1_000_000);
    assert.match(await p.textContent("#notes"), /selection/);
    for (const [direction, end] of [["lowest", by("x0-var")], ["highest", by("x0-var", -1)]]) {
      if (direction === "highest") await p.click("#direction");
      assert.deepEqual(await galleryNumbers(p).then((all) => all[0]), end[0]);
      const number = await openFirst(p);
      assert.equal((await pointAt(p, 16, 15)).value, npy("plain/x0-var.npy").data[number * 1024 + 15 * 32 + 16]);
      await p.keyboard.press("Escape");
    }
  }));

test("settings and the command that makes the run again are told", () =>
  withPage(page, {}, async (p) => {
    const { settings, command: typed } = JSON.parse(readFileSync(join(work, "plain/run.json"), "utf8"));
    const command = await p.textContent("#command");
    assert.match(typed, /^aleat generate .* -o plain .*--maps all/);
    assert.equal(command, typed);
    assert.ok((await p.textContent("#settings")).includes(settings.weights_sha256));
  }));

test("on a phone nothing is wider than the screen, and nothing jumps", () =>
  withPage(page, { viewport: phone, hasTouch: true, colorScheme: "dark" }, async (p) => {
    assert.ok((await p.evaluate(() => document.documentElement.scrollWidth)) <= phone.width);
    await p.evaluate(() => {
      window.shifts = 0;
      new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shifts += entry.value))).observe({ type: "layout-shift", buffered: true });
    });
    const top = () => p.locator("#cards").evaluate((one) => one.getBoundingClientRect().top + scrollY);
    const place = await top();
    await p.locator("#view input[value='1']").check({ force: true });
    await slide(p, "#keep", 20);
    assert.equal(await top(), place);
    await screenshot(p, "phone-dark");
    await openFirst(p);
    assert.ok((await p.locator("#detail").evaluate((one) => one.scrollWidth)) <= phone.width);
    await screenshot(p, "phone-dark-detail");
    assert.ok((await p.evaluate(() => window.shifts)) < 0.1); // "good" by the web vitals
  }));

for (const colorScheme of ["light", "dark"])
  test(`screenshots on a desktop, ${colorScheme}`, () =>
    withPage(page, { colorScheme, viewport: desktop }, async (p) => {
      await p.locator("#view input[value='0.6']").check({ force: true });
      await p.waitForTimeout(300); // thumbnails are drawn one by one
      await screenshot(p, `desktop-${colorScheme}`);
      await openFirst(p);
      await pointAt(p, 16, 15);
      await screenshot(p, `desktop-${colorScheme}-detail`);
      const [ink, paper] = await p.evaluate(() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]);
      const light = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((sum, value) => sum + Number(value), 0);
      assert.equal(light(ink) < light(paper), colorScheme === "light");
    }));
