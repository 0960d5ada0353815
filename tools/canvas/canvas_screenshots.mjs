// Pictures of workflows on ComfyUI's real canvas, taken by a headless Chromium.
//
//   node canvas_screenshots.mjs URL OUTPUT WORKFLOW.json... [--queue] [--nodes2] [--scale=1] [--timeout=600]
//
// OUTPUT is a .png or .jpg file for one workflow, or a folder, which gets a .png for each.
// --queue runs each workflow and waits for its end; one that names files which are not there is drawn as it is.
// --nodes2 draws with the Vue renderer instead of LiteGraph.
// --partway=SECONDS takes the picture so long after the start of the run, while it is under way.
// Prints what the page reports as errors; exits with 1 when a workflow failed, or a script on the page did.

import { mkdirSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { parseArgs } from "node:util";
import { eachWorkflow, settle } from "./canvas.mjs";

const MARGIN = 40;
const MAX_SIDE = 4000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    queue: { type: "boolean", default: false },
    nodes2: { type: "boolean", default: false },
    scale: { type: "string", default: "1" },
    timeout: { type: "string", default: "600" },
    partway: { type: "string", default: "" },
  },
});
const [url, output, ...workflows] = positionals;
if (!workflows.length) {
  console.error("usage: canvas_screenshots.mjs URL OUTPUT WORKFLOW.json... [--queue] [--nodes2] [--scale=1] [--timeout=600] [--partway=SECONDS]");
  process.exit(2);
}
const onError = (page, workflow) => page.screenshot({ path: outputFor(workflow) }).catch(() => {});
process.exit((await eachWorkflow(url, workflows, screenshot, { nodes2: options.nodes2, onError })) ? 1 : 0);

function outputFor(workflow) {
  if (/\.(png|jpe?g)$/i.test(output)) return output;
  mkdirSync(output, { recursive: true });
  return join(output, basename(workflow, extname(workflow)) + ".png");
}

/** One workflow, loaded in a page. Gives what went wrong. */
async function screenshot(page, workflow) {
  const file = outputFor(workflow);
  const problems = options.queue ? await run(page) : [];
  await fit(page);
  await page.screenshot({ path: file, quality: /jpe?g$/i.test(file) ? 90 : undefined });
  console.log(`${workflow} -> ${file}`);
  return problems;
}

/** Queue the workflow and wait for its end, or part of the way. Gives what went wrong. */
async function run(page) {
  if (await lacksFiles(page)) {
    console.log("not run: it needs files that are not here");
    return [];
  }
  const seconds = Number(options.partway || options.timeout);
  const result = await page.evaluate(async (seconds) => {
    const { api } = window.app;
    const ends = ["execution_success", "execution_error", "execution_interrupted"];
    const ended = new Promise((resolve) => {
      for (const type of ends) api.addEventListener(type, (event) => resolve({ type, detail: event.detail }), { once: true });
      setTimeout(() => resolve({ type: "time is up", detail: `no end in ${seconds} s` }), seconds * 1000);
    });
    const queued = await window.app.queuePrompt(0);
    return queued ? ended : { type: "prompt refused", detail: window.app.lastNodeErrors };
  }, seconds);
  if (result.type === "time is up" && options.partway) return [];
  await settle(page);
  if (result.type === "execution_success") return [];
  return [`${result.type}: ${result.detail?.exception_message ?? JSON.stringify(result.detail)}`];
}

/** Whether a list lacks the choice that the workflow asks for: a model file that nobody has downloaded here. */
function lacksFiles(page) {
  return page.evaluate(() => {
    const lacking = ({ type, options, value }) => {
      const choices = typeof options?.values === "function" ? options.values() : options?.values;
      return type === "combo" && Array.isArray(choices) && !choices.includes(value);
    };
    return window.app.graph.nodes.some((node) => node.mode === 0 && node.widgets?.some(lacking));
  });
}

/** Give the window the size of the graph, and put the graph into it. */
async function fit(page) {
  const [x, y, width, height] = await page.evaluate(() => {
    const items = [...window.app.graph.nodes, ...window.app.graph.groups];
    const boxes = items.map((item) => item.getBounding?.() ?? item.boundingRect).map((box) => [...box]);
    const left = Math.min(...boxes.map((box) => box[0]));
    const top = Math.min(...boxes.map((box) => box[1]));
    const right = Math.max(...boxes.map((box) => box[0] + box[2]));
    const bottom = Math.max(...boxes.map((box) => box[1] + box[3]));
    return [left, top, right - left, bottom - top];
  });
  const scale = Math.min(Number(options.scale), (MAX_SIDE - 2 * MARGIN) / Math.max(width, height));
  const side = (length) => Math.ceil(length * scale + 2 * MARGIN);
  await page.setViewportSize({ width: side(width), height: side(height) });
  await page.waitForTimeout(300);
  await page.evaluate(
    ([x, y, scale, margin]) => {
      const { canvas } = window.app;
      canvas.ds.scale = scale;
      canvas.ds.offset[0] = margin / scale - x;
      canvas.ds.offset[1] = margin / scale - y;
      canvas.setDirty(true, true);
    },
    [x, y, scale, MARGIN],
  );
  await page.waitForTimeout(500);
}
