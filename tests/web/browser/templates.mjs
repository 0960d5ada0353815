// Every workflow out of ComfyUI's template browser, in a real browser and both renderers: `make test-browser`.
//
//   node templates.mjs URL OUTPUT [--only=WORKFLOW] [--renderer=classic|nodes2]
//
// Each is found under the pack's name and clicked on; what comes up is the graph of its file, with no unknown nodes.
// It runs to its end, unless it needs model files that are not here. No two nodes may lie over each other then.
// Pictures go to OUTPUT/WORKFLOW_RENDERER.png, to be looked at. Exits with 1 when something is wrong; errors on the
// console are.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { fit, lacksFiles, runToEnd, settle, unknownNodes } from "../../../tools/canvas/canvas.mjs";
import { runTests } from "./page.mjs";

const WORKFLOWS = new URL("../../../workflows/", import.meta.url);
const CATEGORY = "dummy-forcing"; // the pack's folder in custom_nodes
const TITLE = 30; // pixels above a node's box on the classic canvas

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string", default: "" }, renderer: { type: "string", default: "" } },
});
const [url, output] = positionals;
mkdirSync(output, { recursive: true });
const names = readdirSync(WORKFLOWS).filter((file) => file.endsWith(".json")).map((file) => basename(file, ".json"));
const tests = {};
for (const renderer of ["classic", "nodes2"].filter((each) => !options.renderer || each === options.renderer)) {
  for (const name of names.filter((each) => !options.only || each === options.only)) {
    tests[`${name}_${renderer}`] = (open) => template(open, name, renderer);
  }
}
const { failed } = await runTests(tests, url);
process.exit(failed ? 1 : 0);

/** One workflow in one renderer. Gives what became of its run. */
async function template(open, name, renderer) {
  const page = await open({ "Comfy.VueNodes.Enabled": renderer === "nodes2" });
  await choose(page, name);
  assert.deepEqual(await graphOf(page), expectedGraph(name));
  assert.deepEqual(await unknownNodes(page), []);
  assert.equal(await page.getByRole("dialog").count(), 0, "a dialog over the graph");
  const runs = !(await lacksFiles(page));
  const { type, message } = runs ? await runToEnd(page) : { type: "not run: it needs files that are not here" };
  await settle(page);
  await fit(page);
  await page.screenshot({ path: join(output, `${name}_${renderer}.png`) });
  if (runs) assert.equal(type, "execution_success", message);
  assert.deepEqual(await overlaps(page), []);
  await page.request.post(`${url}/free`, { data: { free_memory: true } }); // so that the other renderer runs it again
  await page.close();
  return type;
}

/** Find the workflow in the template browser, as a person does, and open it. */
async function choose(page, name) {
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.BrowseTemplates"));
  const dialog = page.getByRole("dialog");
  await dialog.getByText(CATEGORY, { exact: true }).click();
  const card = dialog.getByTestId(`template-workflow-${name}`);
  await card.scrollIntoViewIfNeeded();
  await card.locator("img").evaluate((picture) => picture.decode()); // throws when it is none
  await page.screenshot({ path: join(output, "template_browser.png") });
  assert.equal(await dialog.locator('[data-testid^="template-workflow-"]').count(), names.length);
  await card.click();
  await dialog.waitFor({ state: "detached" });
  await page.waitForFunction((id) => window.app.graph.id === id, read(`${name}.json`).id);
  await settle(page);
}

/** What is the same on the canvas and in the files: nodes, and the prompt that they make. */
async function graphOf(page) {
  const { nodes, prompt } = await page.evaluate(async () => {
    const { workflow, output } = await window.app.graphToPrompt();
    return { nodes: workflow.nodes, prompt: output };
  });
  return { nodes: nodesOf({ nodes }), prompt };
}

function expectedGraph(name) {
  return { nodes: nodesOf(read(`${name}.json`)), prompt: read(`api/${name}.json`) };
}

function nodesOf({ nodes }) {
  return nodes.map(({ id, type, mode }) => ({ id, type, mode })).sort((one, other) => one.id - other.id);
}

function read(file) {
  return JSON.parse(readFileSync(new URL(file, WORKFLOWS), "utf8"));
}

/** Pairs of nodes that lie over each other, by what the canvas says of their places. */
function overlaps(page) {
  return page.evaluate((title) => {
    const boxes = window.app.graph.nodes.map(({ id, type, pos, size }) => ({
      name: `${type} ${id}`,
      left: pos[0],
      top: pos[1] - title,
      right: pos[0] + size[0],
      bottom: pos[1] + size[1],
    }));
    const found = [];
    for (const [index, one] of boxes.entries()) {
      for (const other of boxes.slice(index + 1)) {
        const apart = one.right <= other.left || other.right <= one.left || one.bottom <= other.top || other.bottom <= one.top;
        if (!apart) found.push(`${one.name} and ${other.name}`);
      }
    }
    return found;
  }, TITLE);
}
