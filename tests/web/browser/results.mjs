// Which node shows what, in a real browser in front of a real ComfyUI: `make test-browser`.
//
//   node results.mjs URL OUTPUT [--only=classic_stop|nodes2_stop|classic_nodes|nodes2_nodes]
//
// In both renderers, with the keys that people press: a video that was stopped is made whole by the same run again, and
// then comes from the cache. Pasted nodes, a patch in a subgraph and the nodes of a second workflow, all of them served
// from ComfyUI's cache, show the heads, the video and the text that are theirs; no other node does.
// Pictures go to OUTPUT, to be looked at. Exits with 1 when something is wrong; errors on the console are.

import assert from "node:assert/strict";
import { join } from "node:path";
import { fit, settle } from "../../../tools/canvas/canvas.mjs";
import { loadGraph, readWorkflow, readArguments, runTests } from "./page.mjs";

const [ONE, TWO] = ["toy_world_streaming", "toy_world_dense_vs_dummy_forcing"];
const [PATCH, STREAM, INFO] = ["DummyForcingPatch", "DummyForcingStreamVideo", "DummyForcingModelInfo"];
const [FRAMES, FEW] = [57, 21]; // of a video that is stopped, and of one in which heads are measured
const WINDOW = { width: 1600, height: 1000 };

const { url, output, only } = readArguments();
const tests = {
  classic_stop: (open) => stops(open, false),
  nodes2_stop: (open) => stops(open, true),
  classic_nodes: (open) => shows(open, false),
  nodes2_nodes: (open) => shows(open, true),
};
const { failed } = await runTests(tests, url, only);
process.exit(failed ? 1 : 0);

/** A page with a workflow in it; `shot` takes its picture. */
async function start(open, nodes2, workflow) {
  const page = await open({ "Comfy.VueNodes.Enabled": nodes2 });
  const shot = (part) => page.screenshot({ path: join(output, `${nodes2 ? "nodes2" : "classic"}_${part}.png`) });
  await loadGraph(page, readWorkflow(workflow));
  return { page, shot };
}

/** ComfyUI's own stop, the same run again, and once more. */
async function stops(open, nodes2) {
  const { page, shot } = await start(open, nodes2, ONE);
  await setAll(page, STREAM, { length: FRAMES, seed: anySeed(), control_after_generate: "fixed" });
  const cut = run(page);
  await page.getByText(/^chunk [12]\//).waitFor();
  await page.keyboard.press("Control+Alt+Enter");
  await cut;
  await page.getByText(/^stopped after chunk/).waitFor();
  const stopped = await newest(page);
  assert.ok(framesOf(stopped) < FRAMES, `${framesOf(stopped)} frames were made before the stop`);
  await settle(page);
  await shot("1_stopped");

  await run(page);
  await page.getByText("finished", { exact: true }).waitFor();
  const whole = await newest(page);
  assert.equal(framesOf(whole), FRAMES);
  assert.notEqual(whole.id, stopped.id);
  await settle(page);
  await shot("2_whole");
  await run(page);
  assert.equal((await newest(page)).id, whole.id, "the third run comes from the cache");
  await page.close();
}

/** Nodes that ComfyUI serves from its cache. */
async function shows(open, nodes2) {
  const { page, shot } = await start(open, nodes2, ONE);
  const seed = anySeed();
  await setAll(page, STREAM, { length: FEW, seed, control_after_generate: "fixed" });
  await run(page);
  const first = await standing(page);
  assert.deepEqual(Object.keys(first).sort(), ["4", "5"], "a map on the patch and a player on the video");

  await paste(page, [PATCH, STREAM]);
  const pasted = await page.evaluate((types) => types.map((type) => String(window.app.graph.nodes.findLast((node) => node.type === type).id)), [PATCH, STREAM]);
  await run(page);
  const twice = await standing(page);
  assert.deepEqual(twice, { ...first, [pasted[0]]: first[4], [pasted[1]]: first[5] }, "pasted nodes show what they were served");
  await fit(page);
  await shot("3_pasted");
  await page.setViewportSize(WINDOW);

  await page.evaluate((ids) => ids.forEach((id) => window.app.graph.remove(window.app.graph.getNodeById(Number(id)))), pasted);
  await page.evaluate(() => (window.holder = window.app.graph.convertToSubgraph(new Set([window.app.graph.getNodeById(4)])).node));
  await setAll(page, STREAM, { seed: seed + 1 });
  await run(page);
  await page.evaluate(() => window.app.canvas.openSubgraph(window.holder.subgraph, window.holder));
  await page.locator(".dummy-forcing-heads:visible").waitFor();
  await settle(page);
  assert.deepEqual(Object.keys(await standing(page)), ["4"]);
  await shot("4_subgraph");

  await loadGraph(page, readWorkflow(TWO));
  assert.deepEqual(await standing(page), {}, "nothing of another workflow");
  await setAll(page, STREAM, { length: FEW, seed: seed + 2 });
  await run(page);
  const second = await standing(page);
  assert.deepEqual(Object.keys(second).sort(), ["18", "4", "5", "7", "8", "9"], "players on both videos, a map on the patch only");
  assert.deepEqual(Object.keys(second[7]), ["heads"]);
  assert.deepEqual([second[4], second[8]].map(Object.keys), [["text"], ["text"]]);
  await paste(page, [INFO]);
  await run(page);
  const more = await standing(page);
  const [added] = Object.keys(more).filter((id) => !(id in second));
  assert.deepEqual(more[added], more[8], "what it said of the model is on the pasted node, too");
  await fit(page);
  await shot("5_second_workflow");
  await page.close();
}

/** Run as people do, by the key; waits for the end and what the page then asks of the server. */
async function run(page) {
  const ended = page.evaluate(
    () =>
      new Promise((resolve) => {
        const { api } = window.app;
        for (const type of ["execution_success", "execution_error", "execution_interrupted"]) {
          api.addEventListener(type, ({ detail }) => resolve([type, detail.exception_message]), { once: true });
        }
      }),
  );
  await page.keyboard.press("Control+Enter");
  assert.deepEqual(await ended, ["execution_success", undefined]);
  await settle(page);
}

/** Set widgets of all nodes of a kind. */
function setAll(page, type, values) {
  return page.evaluate(
    ([type, values]) => {
      for (const node of window.app.graph.nodes.filter((each) => each.type === type)) {
        for (const widget of node.widgets) if (widget.name in values) widget.value = values[widget.name];
      }
    },
    [type, values],
  );
}

/** Select the last node of each kind, copy them, and paste them with their connections. */
async function paste(page, types) {
  await page.evaluate((types) => {
    const { canvas, graph } = window.app;
    canvas.deselectAll();
    canvas.selectItems(types.map((type) => graph.nodes.findLast((node) => node.type === type)));
  }, types);
  await page.locator("#graph-canvas").focus();
  const before = await page.evaluate(() => window.app.graph.nodes.length);
  await page.mouse.move(WINDOW.width - 40, WINDOW.height - 40);
  await page.keyboard.press("Control+c", { delay: 100 });
  await page.keyboard.press("Control+Shift+v", { delay: 100 });
  await page.waitForFunction((count) => window.app.graph.nodes.length === count, before + types.length);
  await settle(page);
}

/** What our parts show on the nodes of the graph that is open, by node: the map, the player's stream, the text. */
function standing(page) {
  return page.evaluate(() => {
    const found = {};
    for (const node of window.app.canvas.graph.nodes.filter(({ type }) => type.startsWith("DummyForcing"))) {
      const shown = {};
      for (const { name, element, value } of node.widgets ?? []) {
        if (name === "dummy_forcing_heads") shown.heads = element.querySelector(".dummy-forcing-name").textContent;
        else if (name.startsWith("dummy_forcing_")) shown.status = element.querySelector(".dummy-forcing-status").textContent;
        else if (name === "$$node-text-preview") shown.text = value;
      }
      if (Object.keys(shown).length) found[node.id] = shown;
    }
    return found;
  });
}

/** The stream that the server knows as the last of the open workflow. */
function newest(page) {
  return page.evaluate(async () => {
    const { api, graph } = window.app;
    const answer = await api.fetchApi(`/dummy_forcing/streams?workflow_id=${graph.id}`);
    return (await answer.json()).streams.at(-1);
  });
}

function framesOf({ runs }) {
  return runs.reduce((sum, [chunks, frames]) => sum + chunks * frames, 0);
}

function anySeed() {
  return Math.floor(1e9 * Math.random());
}
