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
import { eachWorkflow, fit, lacksFiles, runToEnd, settle } from "./canvas.mjs";

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
  await fit(page, Number(options.scale));
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
  const { type, message } = await runToEnd(page, Number(options.partway || options.timeout));
  if (type === "time is up" && options.partway) return [];
  await settle(page);
  return type === "execution_success" ? [] : [`${type}: ${message}`];
}
