// What a person sees of a run that failed, in a real browser, in front of a real ComfyUI: `make test-browser`.
//
//   node errors.mjs URL OUTPUT [--only=classic|nodes2]
//
// In both renderers, with a length that does not fit and a prompt that the toy world does not understand, a longer
// message: what to do can be read at once, uncut and uncovered; then in the panel of errors, in the dialog of those who
// have turned the panel off, and where the interface is hidden. Pictures go to OUTPUT, to be looked at. Exits with 1 when
// something is wrong.

import assert from "node:assert/strict";
import { join } from "node:path";
import { runToEnd, settle } from "../../../tools/canvas/canvas.mjs";
import { loadGraph, readWorkflow, readArguments, runTests } from "./page.mjs";

const FAILING = [
  { name: "length", node: "DummyForcingStreamVideo", values: { length: 10 }, remedy: "use 9 or 21" },
  { name: "prompt", node: "DummyForcingToyWorld", values: { prompt: "a red" }, remedy: "write for example" },
];

const { url, output, only } = readArguments();
const tests = { classic: (open) => errors(open, false), nodes2: (open) => errors(open, true) };
const { failed } = await runTests(tests, url, only);
process.exit(failed ? 1 : 0);

async function errors(open, nodes2) {
  for (const { name, remedy, ...failing } of FAILING) {
    for (const how of ["panel", "dialog", "hidden"]) {
      const page = await open({ "Comfy.VueNodes.Enabled": nodes2, "Comfy.RightSidePanel.ShowErrorsTab": how !== "dialog" });
      const shot = (part) => page.screenshot({ path: join(output, `${nodes2 ? "nodes2" : "classic"}_${name}_${part}.png`) });
      if (how !== "hidden") await page.evaluate(() => window.app.extensionManager.command.execute("Workspace.ToggleFocusMode"));
      await fail(page, failing);
      await shot(`${how}_1`);
      assert.equal((await readable(page, remedy)).length, 1, `${how}: "${remedy}" is to be read at once, and once`);
      if (how === "panel") {
        await page.getByTestId("error-overlay-see-errors").click();
        await settle(page);
        await shot(`${how}_2`);
        const found = await readable(page, remedy);
        assert.ok(found.some((text) => text.includes("Exception Message")), `"${remedy}" is to be read in the panel`);
      }
      await page.close();
    }
  }
}

/** Run the streaming workflow with a value that makes a node fail. */
async function fail(page, { node, values }) {
  await loadGraph(page, readWorkflow("toy_world_streaming"));
  await page.evaluate(
    ([type, values]) => {
      const { widgets } = window.app.graph.nodes.find((each) => each.type === type);
      for (const widget of widgets) if (widget.name in values) widget.value = values[widget.name];
    },
    [node, values],
  );
  const { type, message } = await runToEnd(page);
  assert.equal(type, "execution_error", message);
  await settle(page);
}

/** The texts on the page in which a part can be read: inside of everything that cuts it off, with nothing above it. */
function readable(page, part) {
  return page.evaluate((part) => {
    const spare = 3; // pixels: a space at the end of a line hangs over
    const inside = (inner, outer) =>
      inner.left >= outer.left - spare && inner.right <= outer.right + spare && inner.top >= outer.top - spare && inner.bottom <= outer.bottom + spare;
    const canBeRead = (range, element) => {
      const box = range.getBoundingClientRect();
      if (!box.width || !inside(box, new DOMRect(0, 0, innerWidth, innerHeight))) return false;
      for (let around = element; around; around = around.parentElement) {
        if (getComputedStyle(around).overflow !== "visible" && !inside(box, around.getBoundingClientRect())) return false;
      }
      const [{ left, top, height }] = range.getClientRects();
      const above = document.elementFromPoint(left + 2, top + height / 2);
      return element.contains(above) || above?.contains(element);
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode;
      const at = text.data.indexOf(part);
      if (at < 0) continue;
      const range = document.createRange();
      range.setStart(text, at);
      range.setEnd(text, at + part.length);
      if (canBeRead(range, text.parentElement)) found.push(text.data);
    }
    return found;
  }, part);
}
