// The pack's own words in the reader's language, in a real browser: `make test-browser`.
//
//   node languages.mjs URL OUTPUT
//
// A page in Chinese plays a stream; then a person picks other languages in ComfyUI's settings, which the player speaks
// at once: one that we have, Traditional Chinese, which takes the Simplified, and one that we lack, which gives English.
// Pictures go to OUTPUT, to be looked at.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { runToEnd, settle } from "../../../tools/canvas/canvas.mjs";
import { loadGraph, readWorkflow, runTests } from "./page.mjs";

const WORDS = { 日本語: ["完了", "再生"], 繁體中文: ["已完成", "播放"], Français: ["finished", "Play"], 한국어: ["완료", "재생"] };

const [url, output] = process.argv.slice(2);
mkdirSync(output, { recursive: true });
const tests = { classic: (open) => languages(open, false), nodes2: (open) => languages(open, true) };
const { failed } = await runTests(tests, url);
process.exit(failed ? 1 : 0);

async function languages(open, nodes2) {
  const page = await open({ "Comfy.Locale": "zh", "Comfy.VueNodes.Enabled": nodes2 });
  await loadGraph(page, readWorkflow("toy_world_streaming"));
  await page.evaluate(() => {
    const stream = window.app.graph.nodes.find((node) => node.type === "DummyForcingStreamVideo");
    stream.widgets.find(({ name }) => name === "length").value = 9;
    stream.widgets.find(({ name }) => name === "seed").value = Math.floor(1e9 * Math.random()); // not out of the cache
  });
  await runToEnd(page);
  await says(page, ["已完成", "播放"]);
  await settle(page);
  await page.screenshot({ path: join(output, `chinese_${nodes2 ? "nodes2" : "classic"}.png`) });
  for (const [language, words] of Object.entries(WORDS)) {
    await choose(page, language);
    await says(page, words);
  }
  await page.close();
}

/** Wait until the player has these words for its standing and on its button. */
async function says(page, [standing, button]) {
  const player = page.locator(".dummy-forcing-live");
  await player.locator(".dummy-forcing-status").getByText(standing, { exact: true }).waitFor();
  await player.getByRole("button", { name: button, exact: true }).waitFor();
}

/** Pick a language in the settings. */
async function choose(page, language) {
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.ShowSettingsDialog"));
  const dialog = page.getByRole("dialog");
  await dialog.locator('[id="Comfy.Locale"]').click();
  await page.getByRole("option", { name: language, exact: true }).click();
  await page.getByRole("listbox").waitFor({ state: "detached" });
  await page.mouse.click(20, 500); // beside the dialog, which closes it
  await dialog.waitFor({ state: "detached" });
}
