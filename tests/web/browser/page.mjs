// What the tests in a real browser share: pages on which every error counts, graphs in them, and running the tests.

import { mkdirSync, readFileSync } from "node:fs";
import { cpus, loadavg, release, type } from "node:os";
import { parseArgs } from "node:util";
import { OF_THE_FRONTEND, launch, openPage, settle } from "../../../tools/canvas/canvas.mjs";

const LONGEST_MINUTES = 15; // of one test: what waits for news that never comes fails

/** What a test was started with: the URL, the folder for its pictures, which is made, and the one part to run. */
export function readArguments() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: "string", default: "" } } });
  const [url, output] = positionals;
  mkdirSync(output, { recursive: true });
  return { url, output, only: values.only };
}

/**
 * Run named tests in one browser, of which `only` names one or is empty; each is `async (open) => what it measured`,
 * where `open(settings)` gives a page with these settings of ComfyUI. Prints what went wrong.
 */
export async function runTests(tests, url, only = "") {
  const chosen = Object.entries(tests).filter(([name]) => !only || name === only);
  if (!chosen.length) throw new Error("no such test");
  const browser = await launch();
  const [measured, problems] = [{}, []];
  const machine = { system: `${type()} ${release()}`, cores: cpus().length, load: loadavg()[1], browser: browser.version() };
  try {
    for (const [name, test] of chosen) {
      const wrong = [];
      try {
        measured[name] = await Promise.race([test((settings) => openStrict(browser, url, wrong, settings)), tooLong()]);
      } catch (error) {
        wrong.push(error.stack);
      }
      console.log(`${name}: ${wrong.length ? "failed" : (JSON.stringify(measured[name]) ?? "passed")}`);
      problems.push(...wrong.map((problem) => `${name}: ${problem}`));
    }
  } finally {
    await browser.close();
  }
  for (const problem of problems) console.error(problem);
  return { measured: { date: new Date().toISOString(), machine, ...measured }, failed: problems.length > 0 };
}

/** Fails after the longest time of a test; keeps no process alive. */
function tooLong() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done after ${LONGEST_MINUTES} minutes`)), LONGEST_MINUTES * 60_000).unref();
  });
}

/** A page whose exceptions and console errors are problems. */
async function openStrict(browser, url, problems, settings) {
  const page = await openPage(browser, url, problems, settings);
  page.on("console", (message) => {
    const line = `${message.text()} (${message.location().url})`;
    if (message.type() === "error" && !OF_THE_FRONTEND.some((part) => line.includes(part))) problems.push(`console: ${line}`);
  });
  return page;
}

/** A workflow of the pack as a graph of its own, so that no other page has its id. */
export function readWorkflow(name) {
  const file = new URL(`../../../workflows/${name}.json`, import.meta.url);
  return { ...JSON.parse(readFileSync(file, "utf8")), id: crypto.randomUUID() };
}

export async function loadGraph(page, graph) {
  await page.evaluate((graph) => window.app.loadGraphData(graph, true, true, "test"), graph);
  await settle(page);
}
