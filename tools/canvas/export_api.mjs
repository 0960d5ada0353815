// The API twins of workflows, as ComfyUI's "Export (API)" writes them: workflows/NAME.json -> workflows/api/NAME.json.
//
//   node export_api.mjs URL OUTPUT WORKFLOW.json...

import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { eachWorkflow } from "./canvas.mjs";

const [url, output, ...workflows] = process.argv.slice(2);
if (!workflows.length) {
  console.error("usage: export_api.mjs URL OUTPUT WORKFLOW.json...");
  process.exit(2);
}
mkdirSync(output, { recursive: true });
process.exit((await eachWorkflow(url, workflows, exportApi)) ? 1 : 0);

async function exportApi(page, workflow) {
  const prompt = await page.evaluate(async () => (await window.app.graphToPrompt()).output);
  const file = join(output, basename(workflow));
  writeFileSync(file, JSON.stringify(prompt, null, 2) + "\n");
  console.log(`${workflow} -> ${file}`);
  return [];
}
