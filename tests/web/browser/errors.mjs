// What a person sees of a run that failed, in a real browser, in front of a real ComfyUI: `make test-browser`.
//
//   node errors.mjs URL OUTPUT [--only=classic|nodes2]
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runToEnd, settle } from "../../../tools/canvas/canvas.mjs";
import { loadGraph, readWorkflow, runTests } from "./page.mjs";

const { values: options, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: "string", default: "" } } });
const [url, output] = positionals;
mkdirSync(output, { recursive: true });
const tests = { classic: (open) => errors(open, false), nodes2: (open) => errors(open, true) };
const { failed } = await runTests(tests, url, options.only);
process.exit(failed ? 1 : 0);

async function errors(open, nodes2) {
  const page = await open({ "Comfy.VueNodes.Enabled": nodes2, "Comfy.RightSidePanel.ShowErrorsTab": true });
  const shot = (part) => page.screenshot({ path: join(output, `${nodes2 ? "nodes2" : "classic"}_${part}.png`) });
  await loadGraph(page, readWorkflow("toy_world_streaming"));
  await page.evaluate(() => {
    const stream = window.app.graph.nodes.find((node) => node.type === "DummyForcingStreamVideo");
    stream.widgets.find(({ name }) => name === "length").value = 10;
  });
  const { type, message } = await runToEnd(page);
  assert.equal(type, "execution_error");
  console.log(message);
  await settle(page);
  await shot("1_toast");
  await page.evaluate(() => window.app.extensionManager.command.execute("Workspace.ToggleFocusMode"));
  await settle(page);
  await shot("1b_toast");
  await page.getByTestId("error-overlay-see-errors").click();
  await settle(page);
  await shot("2_panel");
}
