// Pictures of single nodes in Nodes 2.0 after a run of their workflow, for README's own.
//
//   node node_pictures.mjs URL OUTPUT WORKFLOW.json TITLE...
//
// OUTPUT is a folder, which gets TITLE.png for each node of that title. Videos stand at FRAME.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { eachWorkflow, fit, runToEnd, settle } from "./canvas.mjs";

const FRAME = 58; // of the videos: the shapes are back from behind the edge

const [url, output, workflow, ...titles] = process.argv.slice(2);
if (!titles.length) {
  console.error("usage: node_pictures.mjs URL OUTPUT WORKFLOW.json TITLE...");
  process.exit(2);
}
mkdirSync(output, { recursive: true });
process.exit((await eachWorkflow(url, [workflow], pictures, { nodes2: true })) ? 1 : 0);

async function pictures(page) {
  const { type, message } = await runToEnd(page);
  if (type !== "execution_success") return [`${type}: ${message}`];
  await fit(page);
  await settle(page);
  for (const button of await page.getByRole("button", { name: "Pause" }).all()) await button.click();
  for (const slider of await page.getByRole("slider", { name: "Position in the video" }).all()) {
    await slider.fill(String(FRAME));
    await slider.blur();
  }
  await settle(page);
  for (const title of titles) {
    const id = await page.evaluate((title) => window.app.graph.nodes.find((node) => node.title === title)?.id, title);
    if (id === undefined) return [`no node is called ${title}`];
    await page.locator(`[data-node-id="${id}"]`).screenshot({ path: join(output, `${title}.png`) });
  }
  return [];
}
