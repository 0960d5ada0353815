// The comparison in a real browser, in front of a real ComfyUI: `make test-browser`.
//
//   node compare.mjs URL OUTPUT [--only=classic|nodes2|classic_runs|nodes2_runs|stops]
//
// In both renderers: of two clips of known colours the wipe shows as much of each as it says, moved by drag, by keys
// and by a double click; the difference is the difference; a click on a curve goes there; all is there again after a
// reload, on a small node too. Then two runs of the toy world, with their bars, and a comparison that is stopped.
// Pictures go to OUTPUT, to be looked at. Exits with 1 when something is wrong; errors on the console are.

import assert from "node:assert/strict";
import { join } from "node:path";
import { enter, fit, runToEnd, settle } from "../../../tools/canvas/canvas.mjs";
import { loadGraph, readWorkflow, readArguments, runTests } from "./page.mjs";

const [RED, GREEN, BLUE] = [0xff0000, 0x00ff00, 0x0000ff];
const SHORT = { WIDTH: 124, HEIGHT: 60, FRAMES: 40 }; // a width that is no multiple of a JPEG block
const LONG = { WIDTH: 256, HEIGHT: 256, FRAMES: 4000 }; // longer than the test
const NODE = "DummyForcingCompare";
const LENGTH = 57; // frames of a run: long enough for heads to forget
const ROOT = ".dummy-forcing-compare";

const { url, output, only } = readArguments();
const settings = (nodes2) => ({ "Comfy.VueNodes.Enabled": nodes2, "Comfy.Workflow.Persist": true });
const tests = {
  classic: (open) => colours(open, "classic"),
  nodes2: (open) => colours(open, "nodes2"),
  classic_runs: (open) => runs(open, "classic"),
  nodes2_runs: (open) => runs(open, "nodes2"),
  stops,
};
const { failed } = await runTests(tests, url, only);
process.exit(failed ? 1 : 0);

/** a is red and then blue, b is green. */
async function colours(open, name) {
  const page = await open(settings(name === "nodes2"));
  const shot = (part) => page.screenshot({ path: join(output, `${name}_${part}.png`) });
  await loadGraph(page, emptyGraph());
  await page.evaluate(build, clips(SHORT));
  assert.equal((await runToEnd(page)).type, "execution_success");
  await atTheEnd(page);
  await shot("1_colours");
  await wipes(page);
  await shot("2_wiped");
  await differs(page, shot);
  await seeks(page);
  await shot("4_sought");

  await page.reload();
  await enter(page);
  await atTheEnd(page);
  assert.deepEqual(await colourAt(page, 0.1), BLUE);
  assert.equal(await page.locator(ROOT).count(), 1);
  await page.evaluate((type) => {
    const node = window.app.graph.nodes.find((node) => node.type === type);
    node.setSize([230, 460]);
  }, NODE);
  await settle(page);
  await shot("5_small");
  assert.deepEqual(await colourAt(page, 0.9), GREEN);
  await page.evaluate((type) => window.app.graph.remove(window.app.graph.nodes.find((node) => node.type === type)), NODE);
  await page.locator(ROOT).waitFor({ state: "detached" });
  await page.close();
}

/** Long clips, compared until somebody presses stop: what there is stays, and the nodes behind go on. */
async function stops(open) {
  const page = await open(settings(false));
  await loadGraph(page, emptyGraph());
  await page.evaluate(build, clips(LONG));
  const end = runToEnd(page);
  await page.getByText(/^chunk ([3-9]|\d{2,3})\/250$/).waitFor(); // it may be fast
  await page.screenshot({ path: join(output, "8_under_way.png") });
  await page.getByRole("button", { name: "Stop and keep what is finished" }).click();
  assert.equal((await end).type, "execution_success");
  await page.getByText(/^stopped after chunk \d+\/250$/).waitFor();
  await page.waitForFunction((root) => document.querySelector(`${root} [aria-label^="PSNR"] path`)?.getAttribute("d"), ROOT);
  await page.close();
}

function clips(size) {
  return { RED, GREEN, BLUE, NODE, ...size, fresh: Math.floor(1e6 * Math.random()) };
}

function emptyGraph() {
  return { id: crypto.randomUUID(), revision: 0, last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: [], config: {}, extra: {}, version: 0.4 };
}

/** On the page: the nodes that make the clips, and the one that compares them. */
function build({ RED, GREEN, BLUE, WIDTH, HEIGHT, FRAMES, NODE, fresh }) {
  const { app, LiteGraph } = window;
  const add = (type, pos, values = {}) => {
    const node = LiteGraph.createNode(type);
    node.pos = pos;
    app.graph.add(node);
    for (const [name, value] of Object.entries(values)) node.widgets.find((widget) => widget.name === name).value = value;
    return node;
  };
  const clip = (pos, color, batch_size) => add("EmptyImage", pos, { width: WIDTH, height: HEIGHT, batch_size, color });
  const [red, blue, green] = [clip([40, 60], RED, FRAMES / 2), clip([40, 260], BLUE, FRAMES / 2), clip([40, 460], GREEN, FRAMES)];
  const both = add("ImageBatch", [300, 60]);
  red.connect(0, both, 0);
  blue.connect(0, both, 1);
  const compare = add(NODE, [560, 60], { label_a: "first", label_b: `second ${fresh}` });
  both.connect(0, compare, compare.findInputSlot("a"));
  green.connect(0, compare, compare.findInputSlot("b"));
  compare.setSize([520, 620]);
}

/** Wait until all frames have been played. */
async function atTheEnd(page) {
  await page.locator(`${ROOT} [data-icon][aria-label="Play"]`).waitFor();
  await page.waitForFunction((root) => document.querySelector(`${root} .dummy-forcing-empty`)?.hidden, ROOT);
  await settle(page);
}

/** The colour in the middle of the picture's height, which JPEG has changed by little: its three bits as a number. */
function colourAt(page, share) {
  return page.evaluate(
    ([root, share]) => {
      const canvas = document.querySelector(`${root} .dummy-forcing-frame canvas`);
      const [x, y] = [Math.floor(share * canvas.width), canvas.height >> 1];
      const [red, green, blue] = [...canvas.getContext("2d").getImageData(x, y, 1, 1).data].map((level) => (level > 127 ? 0xff : 0));
      return (red << 16) | (green << 8) | blue;
    },
    [ROOT, share],
  );
}

async function isSplitAt(page, share, [left, right]) {
  if (share > 0.02) assert.deepEqual([await colourAt(page, 0), await colourAt(page, share - 0.02)], [left, left], `left of ${share}`);
  if (share < 0.98) assert.deepEqual([await colourAt(page, share + 0.02), await colourAt(page, 0.99)], [right, right], `right of ${share}`);
}

/** The slider moves the wipe: by keys, by a drag and by a double click. */
async function wipes(page) {
  const slider = page.getByRole("slider", { name: /^Wipe between first and second/ });
  await isSplitAt(page, 0.5, [BLUE, GREEN]);
  for (const [key, share] of [["Home", 0], ["ArrowRight", 0.01], ["End", 1], ["Shift+ArrowLeft", 0.9], ["ArrowLeft", 0.89]]) {
    await slider.press(key);
    await isSplitAt(page, share, [BLUE, GREEN]);
  }
  assert.equal(await slider.getAttribute("aria-valuetext"), "89 % first");
  const { x, y, width, height } = await slider.boundingBox();
  const before = await nodePosition(page);
  await page.mouse.move(x + 0.9 * width, y + height / 3);
  await page.mouse.down();
  await page.mouse.move(x + 0.5 * width, y + height / 2, { steps: 5 });
  await page.mouse.move(x + 0.25 * width, y + height / 2, { steps: 5 });
  await page.mouse.up();
  await isSplitAt(page, 0.25, [BLUE, GREEN]);
  assert.deepEqual(await nodePosition(page), before, "a drag on the picture must not move the node");
  await page.mouse.dblclick(x + 0.8 * width, y + height / 2);
  await isSplitAt(page, 0.5, [BLUE, GREEN]);
  await slider.fill("70");
  await isSplitAt(page, 0.7, [BLUE, GREEN]);
}

function nodePosition(page) {
  return page.evaluate((type) => [...window.app.graph.nodes.find((node) => node.type === type).pos], NODE);
}

async function differs(page, shot) {
  const button = page.getByRole("button", { name: "Show the difference, 8 times as bright" });
  await button.click();
  assert.equal(await button.getAttribute("aria-pressed"), "true");
  assert.deepEqual(await colourAt(page, 0.1), BLUE | GREEN);
  assert.deepEqual(await colourAt(page, 0.9), BLUE | GREEN);
  await shot("3_difference");
  await button.click();
  await isSplitAt(page, 0.7, [BLUE, GREEN]);
}

/** Curves and the worst frame lead to frames; a pointer over a curve says what is there. */
async function seeks(page) {
  const curve = page.getByRole("img", { name: /^SSIM over time/ });
  const { x, y, width, height } = await curve.boundingBox();
  const shown = (act) => shownAfter(page, act);
  assert.equal(await shown(() => page.mouse.click(x + 0.26 * width, y + height / 2)), 10);
  assert.deepEqual(await colourAt(page, 0.1), RED);
  await page.mouse.move(x + 0.76 * width, y + height / 2);
  const said = () => page.locator(`${ROOT} .dummy-forcing-curve .dummy-forcing-here`).nth(1).textContent();
  assert.match(await said(), /^[\d.]+ at 0:01\.9$/); // frame 30 at 16 a second
  await page.mouse.move(x, y - 100);
  assert.match(await said(), /^[\d.]+ at 0:00\.6$/);
  const worst = page.getByRole("button", { name: /^worst/ });
  assert.ok([0, 20].includes(await shown(() => worst.click())), "the first frame of either colour");
}

/** The frame that an action brings. */
async function shownAfter(page, act) {
  const shown = page.evaluate(
    (root) => new Promise((resolve) => document.querySelector(root).addEventListener("frameshown", ({ detail }) => resolve(detail), { once: true })),
    ROOT,
  );
  await act();
  return shown;
}

/** Dense against Dummy Forcing. */
async function runs(open, name) {
  const page = await open(settings(name === "nodes2"));
  await loadGraph(page, readWorkflow("toy_world_dense_vs_dummy_forcing"));
  await page.evaluate((length) => {
    const seed = Math.floor(1e9 * Math.random());
    for (const node of window.app.graph.nodes.filter(({ type }) => type === "DummyForcingStreamVideo")) {
      node.widgets.find((widget) => widget.name === "length").value = length;
      node.widgets.find((widget) => widget.name === "seed").value = seed;
    }
  }, LENGTH);
  assert.equal((await runToEnd(page)).type, "execution_success");
  await fit(page);
  await atTheEnd(page);
  assert.equal(await page.locator(`${ROOT} .dummy-forcing-cost`).count(), 4);
  const memory = page.locator(`${ROOT} .dummy-forcing-cost`).filter({ hasText: "KV memory" });
  const ratio = Number((await memory.locator(".dummy-forcing-here").textContent()).replace("× ", ""));
  const [dense, forced] = await memory.locator(".dummy-forcing-bar-fill").evaluateAll((bars) => bars.map((bar) => bar.clientWidth));
  assert.ok(ratio < 0.9 && Math.abs(forced / dense - ratio) < 0.05, `${forced} of ${dense} pixels for ${ratio}`);
  await page.screenshot({ path: join(output, `${name}_6_runs.png`) });
  await page.locator(ROOT).screenshot({ path: join(output, `${name}_7_player.png`) });
  await page.close();
}
