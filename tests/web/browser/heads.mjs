// The head map in a real browser, in front of a real ComfyUI: `make test-browser`.
//
//   node heads.mjs URL OUTPUT [--only=classic|nodes2|shapes|shapes_light]
//
// In both renderers, of heads that are measured here: the map comes with the first run, its slider and the node's
// dummy_ratio are one, roles are forced by click and by key, runs and a file are compared, and all of it is there after
// an undo and after a reload; heads measured while a video is made show on the patch. Then maps of other shapes, and what is no map.
// Pictures go to OUTPUT, to be looked at. Exits with 1 when something is wrong; errors on the console are.

import assert from "node:assert/strict";
import { join } from "node:path";
import { enter, runToEnd, settle } from "../../../tools/canvas/canvas.mjs";
import { loadGraph, readWorkflow, readArguments, runTests } from "./page.mjs";

const WORKFLOW = "toy_world_profile_heads";
const [PROFILE, PATCH, STREAM] = ["DummyForcingProfileHeads", "DummyForcingPatch", "DummyForcingStreamVideo"];
const HEADS = ".dummy-forcing-heads";

const { url, output, only } = readArguments();
const settings = (nodes2) => ({ "Comfy.VueNodes.Enabled": nodes2, "Comfy.Workflow.Persist": true });
const tests = {
  classic: (open) => measured(open, false),
  nodes2: (open) => measured(open, true),
  shapes: (open) => shapes(open, "dark"),
  shapes_light: (open) => shapes(open, "light"),
};
const { failed } = await runTests(tests, url, only);
process.exit(failed ? 1 : 0);

/** One renderer, from the first run to the reload. */
async function measured(open, nodes2) {
  const page = await open(settings(nodes2));
  const shot = (part) => page.screenshot({ path: join(output, `${nodes2 ? "nodes2" : "classic"}_${part}.png`) });
  await loadGraph(page, readWorkflow(WORKFLOW));
  assert.equal(await page.locator(HEADS).count(), 0, "no map before heads have been measured");
  await makeQuick(page);
  const saved = await savedValues(page);
  await run(page);
  await look(page, PROFILE);
  const map = page.locator(HEADS, { has: page.locator(".dummy-forcing-name", { hasText: "measured" }) });
  await map.waitFor();
  assert.equal(await page.locator(HEADS).count(), 2, "one on the profile, one on the patch");
  assert.deepEqual(await savedValues(page), saved, "the map is no part of the workflow");
  await shot("1_measured");

  await hovers(page, map, shot);
  await slides(page, map, shot);
  await follows(page, map);
  await forces(page, map, shot);
  await compares(page, map, shot);

  const before = await figuresOf(map);
  await page.reload();
  await enter(page);
  await look(page, PROFILE);
  await map.waitFor();
  assert.deepEqual(await figuresOf(map), before, "the same after a reload");
  await look(page, PATCH);
  await settle(page);
  await shot("7_patch_after_reload");

  await page.evaluate(
    ([patchType, streamType]) => {
      const [patch, stream] = [patchType, streamType].map((type) => window.app.graph.nodes.find((node) => node.type === type));
      patch.disconnectInput(patch.findInputSlot("profile"));
      stream.widgets.find(({ name }) => name === "length").value = 21; // two chunks: the second is measured
    },
    [PATCH, STREAM],
  );
  await run(page);
  await page.locator(HEADS, { has: page.locator(".dummy-forcing-name", { hasText: "from the video" }) }).waitFor();

  await page.evaluate((type) => window.app.graph.remove(window.app.graph.nodes.find((node) => node.type === type)), PROFILE);
  await map.waitFor({ state: "detached" });
  await page.close();
}

/** One prompt, two chunks, a short video, and seeds that no run before had. */
async function makeQuick(page) {
  await page.evaluate(
    ([profile, stream]) => {
      const { graph } = window.app;
      const node = (type) => graph.nodes.find((each) => each.type === type);
      for (const input of node(profile).inputs.filter(({ name }) => /positive_[12]/.test(name))) graph.removeLink(input.link);
      const put = (type, values) => {
        for (const widget of node(type).widgets) if (widget.name in values) widget.value = values[widget.name];
      };
      const seed = Math.floor(1e9 * Math.random());
      put(profile, { chunks: 2, seed });
      put(stream, { length: 9, seed });
    },
    [PROFILE, STREAM],
  );
}

async function run(page) {
  const { type, message } = await runToEnd(page);
  assert.equal(type, "execution_success", message);
  await settle(page);
}

/** Show a node in the middle of the window. */
async function look(page, type) {
  await page.evaluate((type) => {
    const { canvas, graph } = window.app;
    const { pos, size } = graph.nodes.find((node) => node.type === type);
    canvas.ds.scale = Math.min(1, 900 / size[1]);
    canvas.ds.offset[0] = innerWidth / 2 / canvas.ds.scale - pos[0] - size[0] / 2;
    canvas.ds.offset[1] = 60 / canvas.ds.scale - pos[1];
    canvas.setDirty(true, true);
  }, type);
  await settle(page);
}

function valueOf(page, name) {
  return page.evaluate(
    ([type, name]) => window.app.graph.nodes.find((node) => node.type === type).widgets.find((widget) => widget.name === name).value,
    [PROFILE, name],
  );
}

/** What a file of the workflow holds of the profile node's widgets. */
function savedValues(page) {
  return page.evaluate((type) => window.app.graph.serialize().nodes.find((node) => node.type === type).widgets_values, PROFILE);
}

/** Keys as a person presses them: ComfyUI takes ones let go at once for the end of something else. */
function press(page, keys) {
  return page.keyboard.press(keys, { delay: 200 });
}

/** Wait for a value of the node, which ComfyUI makes anew when something is undone. */
function becomes(page, name, value) {
  return page.waitForFunction(
    ([type, name, value]) => {
      const node = window.app.graph.nodes.find((node) => node.type === type);
      return node?.widgets.find((widget) => widget.name === name).value === value;
    },
    [PROFILE, name, value],
  );
}

function figuresOf(map) {
  return map.locator("dd").allTextContents();
}

/** A point on the map: shares of its width and height. */
async function pointOn(map, across, down) {
  const { x, y, width, height } = await map.locator("[role=grid]").boundingBox();
  return [x + across * width, y + down * height];
}

async function hovers(page, map, shot) {
  await page.mouse.move(...(await pointOn(map, 0.5, 0.5)));
  await map.getByText(/^Layer \d+, head \d+$/).waitFor();
  const masses = await map.locator(".dummy-forcing-bin > :last-child").allTextContents();
  const sum = masses.reduce((sum, text) => sum + parseFloat(text), 0);
  assert.ok(Math.abs(sum - 100) < 0.2, `masses of ${masses}`);
  await shot("2_hover");
  await page.mouse.move(5, 500);
  await map.getByText(/^Point at a head/).waitFor();
}

/** Drag the slider: figures follow at once, the node's widget has the value, and one undo takes it all back. */
async function slides(page, map, shot) {
  const slider = map.getByRole("slider");
  const before = await figuresOf(map);
  const { x, y, width, height } = await slider.boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(x + 0.65 * width, y + height / 2);
  const during = await figuresOf(map);
  assert.ok(during.every((text, index) => text !== before[index]), `${before} became ${during}`);
  await page.mouse.move(x + 0.8 * width, y + height / 2, { steps: 5 });
  await page.mouse.up();
  const ratio = await valueOf(page, "dummy_ratio");
  assert.ok(Math.abs(ratio - 0.8) < 0.03, `the widget has ${ratio}`);
  await settle(page);
  await shot("3_slid");
  assert.ok(await page.evaluate(() => window.app.extensionManager.workflow.activeWorkflow.isModified));
  await press(page, "Control+z");
  await becomes(page, "dummy_ratio", 0.5);
  await map.waitFor();
  assert.deepEqual(await figuresOf(map), before);
  await settle(page);
  await press(page, "Control+y");
  await becomes(page, "dummy_ratio", ratio);
  await settle(page);
  await slider.press("Home");
  assert.equal(await valueOf(page, "dummy_ratio"), 0);
  await map.getByText(/^0 of \d+ heads$/).waitFor();
}

/** What the frontend does to the widget, the slider shows. */
async function follows(page, map) {
  await page.evaluate((type) => {
    const { canvas, graph } = window.app;
    const node = graph.nodes.find((each) => each.type === type);
    node.widgets.find(({ name }) => name === "dummy_ratio").setValue(0.25, { e: undefined, node, canvas });
  }, PROFILE);
  assert.equal(await map.getByRole("slider").inputValue(), "0.25");
}

/** Roles by mouse, by key and back again. */
async function forces(page, map, shot) {
  const [x, y] = await pointOn(map, 0.5, 0.4);
  await page.mouse.click(x, y);
  const menu = page.getByRole("menu");
  await menu.waitFor();
  await shot("4_menu");
  const title = await menu.locator("p").textContent();
  const [layer, head] = title.match(/\d+/g).map(Number);
  await menu.getByRole("menuitemradio", { name: "sink" }).last().click();
  assert.equal(await valueOf(page, "forced_roles"), `${layer}:${head}=sink`);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("d");
  const both = `${layer}:${head}=sink, ${layer}:${head + 1}=dummy`;
  assert.equal(await valueOf(page, "forced_roles"), both);
  await map.getByText(/dummy forced/).first().waitFor();
  await settle(page);
  await shot("5_forced");

  await press(page, "Control+z");
  await becomes(page, "forced_roles", `${layer}:${head}=sink`);
  await settle(page);
  await page.keyboard.press("d");
  assert.equal(await valueOf(page, "forced_roles"), both, "the same head is still in focus");
  await page.keyboard.press("Enter");
  await menu.waitFor();
  await page.keyboard.press("Escape");
  await menu.waitFor({ state: "hidden" });
  await page.keyboard.press("a");
  assert.equal(await valueOf(page, "forced_roles"), `${layer}:${head}=sink`);
  await map.getByRole("button", { name: "Clear forced (1)" }).click();
  assert.equal(await valueOf(page, "forced_roles"), "");
}

/** Another run, and what has changed since the first. */
async function compares(page, map, shot) {
  await page.evaluate((type) => {
    const { widgets } = window.app.graph.nodes.find((node) => node.type === type);
    widgets.find(({ name }) => name === "seed").value++;
    widgets.find(({ name }) => name === "dummy_ratio").value = 0.5;
  }, PROFILE);
  await run(page);
  const choice = map.getByRole("combobox");
  const earlier = choice.locator("optgroup[label='Earlier runs'] option");
  await page.mouse.move(...(await pointOn(map, 0.5, 0.5)));
  assert.equal(await earlier.count(), 1);
  await choice.selectOption(await earlier.getAttribute("value"));
  await map.getByText(/^own chunk ±/).waitFor();
  await map.getByText("shared dummies").waitFor();
  const rolesOf = (at) => page.mouse.move(...at).then(() => map.locator(".dummy-forcing-bin > :last-child").first().textContent());
  assert.match(await rolesOf(await pointOn(map, 0.5, 0.5)), /% \/ .*%/);
  await settle(page);
  await shot("6_compared");
  const saved = choice.locator("optgroup[label='Saved profiles'] option");
  await saved.first().waitFor({ state: "attached" });
  await choice.selectOption(await saved.first().getAttribute("value"));
  await map.getByText("100.0 %", { exact: true }).waitFor(); // of the dummies: it was saved by this very run
  assert.match((await figuresOf(map))[0], /^0 of /);
  await choice.selectOption("");
  await map.getByText("attention kept").waitFor();
}

/** Maps of all shapes on one node, some of them none; in a dark or a light theme. */
async function shapes(open, palette) {
  const page = await open({ ...settings(false), "Comfy.Workflow.Persist": false, "Comfy.ColorPalette": palette });
  const warnings = [];
  page.on("console", (message) => message.type() === "warning" && message.text().startsWith("Dummy Forcing") && warnings.push(message.text()));
  await loadGraph(page, readWorkflow(WORKFLOW));
  for (const [index, [layers, heads, dummies]] of [[30, 12, 180], [40, 40, 800], [4, 4, 8]].entries()) {
    await page.evaluate(tellOfMap, [layers, heads, index + 1, PROFILE]);
    await look(page, PROFILE);
    const map = page.locator(HEADS);
    await map.waitFor();
    await page.mouse.move(...(await pointOn(map, 0.55, 0.3)));
    await map.getByText(/^Layer/).waitFor();
    await map.getByText(`${dummies} of ${layers * heads} heads`).waitFor();
    await page.screenshot({ path: join(output, `${palette}_${layers}x${heads}.png`) });
    const others = await map.locator("option:disabled").allTextContents();
    assert.equal(others.filter((text) => /\(\d+ layers × \d+ heads\)$/.test(text)).length, index, `${others}`);
  }
  assert.deepEqual(warnings, []);
  const wrong = { id: "wrong", masses: [[[1, 2]]], roles: [[0]] };
  for (let time = 0; time < 2; time++) {
    await page.evaluate((detail) => window.app.api.dispatchEvent(new CustomEvent("dummy_forcing.head_map", { detail })), wrong);
  }
  assert.equal(warnings.length, 1, warnings.join("\n"));
  await page.close();
}

/** In the page: as if the server had measured heads of this shape. */
function tellOfMap([layers, heads, made, type]) {
  const { app } = window;
  let state = 7;
  const random = () => (state = (state * 16807) % 2147483647) / 2147483647;
  const table = (cell) => Array.from({ length: layers }, (_, layer) => Array.from({ length: heads }, () => cell(layer)));
  const masses = table((layer) => {
    const parts = [random() ** 4, random() ** 3 * (1 + layer / layers), 0.4 + random()];
    const sum = parts.reduce((one, other) => one + other);
    return parts.map((part) => Number((part / sum).toPrecision(6)));
  });
  const detail = {
    id: `${layers}x${heads}`,
    node_id: String(app.graph.nodes.find((node) => node.type === type).id),
    workflow_id: app.graph.id,
    made,
    served: made,
    origin: "measured",
    name: `a model of ${layers} layers and ${heads} heads`,
    masses,
    roles: table(() => 2),
    settings: { dummy_ratio: 0.4, cost: "normalised", forced_roles: "", inherited_roles: "", local_context: 1, packed_frames: 1 },
    costs: { chunk_frames: 3, latent_frames: 21, fixed_flops: 12.1e12, flops_per_key_frame: 1.35e12 },
  };
  app.api.dispatchEvent(new CustomEvent("dummy_forcing.head_map", { detail }));
}
