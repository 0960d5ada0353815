// ComfyUI's real canvas in a headless Chromium: pages of a server, and workflows loaded into them.
// The server's settings stay as they are: a page sees changed ones, and what it saves goes nowhere.

import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const PATIENCE_MS = 120_000; // a busy machine needs more than the half minute of the default
const SETTLE_MS = 1500; // what no event announces: node layout, pictures and videos in nodes
const MARGIN = 40; // around the graph in pictures, in pixels
const MAX_SIDE = 4000;

// No first-run dialogs, no panels over the canvas, no drafts of the last session.
const SETTINGS = {
  "Comfy.TutorialCompleted": true,
  "Comfy.Notification.ShowVersionUpdates": false,
  "Comfy.Workflow.ShowMissingModelsWarning": false,
  "Comfy.Workflow.Persist": false,
  "Comfy.RightSidePanel.ShowErrorsTab": false,
  "Comfy.Minimap.Visible": false,
  "Comfy.Graph.CanvasMenu": false,
  "Comfy.Graph.CanvasInfo": false,
  "Comfy.Validation.Workflows": false,
};

// The button that leads out of focus mode, and the controls of videos, half-faded at any moment.
const HIDDEN = "button:has(> .pi-bars), video::-webkit-media-controls { display: none !important }";

// Console errors that a fresh user folder and the first default workflow always give.
export const OF_THE_FRONTEND = [
  "/api/userdata",
  "/user.css",
  "Content Security Policy",
  "net::ERR_FAILED", // what `keepToTheServer` let nowhere
  "ComfyApp graph accessed before initialization",
];

export async function launch() {
  const executablePath = BROWSERS.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("no Chromium: apt-get install chromium, or set CHROMIUM to its path");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
}

/** Do something with each workflow in a page of its own; `act(page, file)` gives a list of problems. Gives their number. */
export async function eachWorkflow(url, files, act, { nodes2 = false, onError = async () => {} } = {}) {
  const browser = await launch();
  let failures = 0;
  try {
    for (const file of files) {
      const problems = [];
      const page = await openPage(browser, url, problems, { "Comfy.VueNodes.Enabled": nodes2 });
      try {
        await load(page, file, nodes2);
        problems.push(...(await act(page, file)));
      } catch (error) {
        problems.push(error.message);
        await onError(page, file);
      } finally {
        await page.close();
      }
      for (const problem of problems) console.error(`${file}: ${problem}`);
      failures += problems.length;
    }
  } finally {
    await browser.close();
  }
  return failures;
}

/** A page with the frontend in it, ready to load workflows. Exceptions on it go to `problems`. */
export async function openPage(browser, url, problems, settings) {
  const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
  await keepToTheServer(page, url, { ...SETTINGS, ...settings });
  report(page, problems);
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(url);
  await enter(page);
  return page;
}

/** After a page has been loaded: wait for the frontend, leave nothing but the canvas. */
export async function enter(page) {
  await page.waitForFunction(() => window.app?.extensionManager && window.app?.canvas && window.app?.graph);
  await page.locator(".p-blockui-mask").waitFor({ state: "hidden" });
  await page.evaluate(() => window.app.extensionManager.command.execute("Workspace.ToggleFocusMode"));
  // Not by addStyleTag, which takes any violation of the page's security policy meanwhile for its own.
  await page.evaluate((css) => document.head.appendChild(document.createElement("style")).append(css), HIDDEN);
}

/** Override settings in the answers to the page, and let nothing out: neither to the server's files nor to the net. */
async function keepToTheServer(page, url, changed) {
  await page.route((target) => target.origin !== new URL(url).origin, (route) => route.abort());
  await page.route("**/api/settings", async (route) => {
    if (route.request().method() !== "GET") return route.fulfill({ status: 200 });
    const response = await route.fetch();
    return route.fulfill({ response, json: { ...(await response.json()), ...changed } });
  });
  await page.route("**/api/settings/*", (route) => route.fulfill({ status: 200 }));
}

/** Print the page's console errors, without those of a bare frontend; its exceptions count as failures. */
function report(page, problems) {
  page.on("pageerror", (error) => problems.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    const line = `${message.text()} (${message.location().url})`;
    if (message.type() === "error" && !OF_THE_FRONTEND.some((part) => line.includes(part))) {
      console.error(`console: ${line}`);
    }
  });
}

export async function load(page, file, nodes2 = false) {
  const graph = JSON.parse(readFileSync(file, "utf8"));
  const drawn = await page.evaluate(
    async ([graph, name]) => {
      await window.app.loadGraphData(graph, true, true, name);
      return window.app.graph.nodes.length;
    },
    [graph, basename(file, ".json")],
  );
  if (nodes2) await page.waitForFunction((n) => document.querySelectorAll("[data-node-id]").length >= n, drawn);
  const unknown = await unknownNodes(page);
  if (unknown.length) throw new Error(`unknown nodes: ${unknown.join(", ")}`);
  await settle(page);
}

/** Types of the graph's nodes that no pack here has. */
export function unknownNodes(page) {
  return page.evaluate(() => {
    const types = window.LiteGraph.registered_node_types;
    return window.app.graph.nodes.filter((node) => !types[node.type] && !node.isSubgraphNode?.()).map((node) => node.type);
  });
}

export const settle = (page) => page.waitForTimeout(SETTLE_MS);

/** Whether a list lacks the choice that the workflow asks for: a model file that nobody has downloaded here. */
export function lacksFiles(page) {
  return page.evaluate(() => {
    const lacking = ({ type, options, value }) => {
      const choices = typeof options?.values === "function" ? options.values() : options?.values;
      return type === "combo" && Array.isArray(choices) && !choices.includes(value);
    };
    return window.app.graph.nodes.some((node) => node.mode === 0 && node.widgets?.some(lacking));
  });
}

/** Queue the workflow and wait for its end. Gives the event that ended it, and what that says. */
export function runToEnd(page, seconds = 600) {
  return page.evaluate(async (seconds) => {
    const { api } = window.app;
    const ends = ["execution_success", "execution_error", "execution_interrupted"];
    const said = (detail) => detail?.exception_message ?? JSON.stringify(detail);
    const ended = new Promise((resolve) => {
      for (const type of ends) api.addEventListener(type, ({ detail }) => resolve({ type, message: said(detail) }), { once: true });
      setTimeout(() => resolve({ type: "time is up", message: `no end in ${seconds} s` }), seconds * 1000);
    });
    const queued = await window.app.queuePrompt(0);
    return queued ? ended : { type: "prompt refused", message: said(window.app.lastNodeErrors) };
  }, seconds);
}

/** Give the window the size of the graph, at most 4000 pixels, and put the graph into it. */
export async function fit(page, most = 1) {
  const [x, y, width, height] = await page.evaluate(() => {
    const items = [...window.app.graph.nodes, ...window.app.graph.groups];
    const boxes = items.map((item) => item.getBounding?.() ?? item.boundingRect).map((box) => [...box]);
    const left = Math.min(...boxes.map((box) => box[0]));
    const top = Math.min(...boxes.map((box) => box[1]));
    const right = Math.max(...boxes.map((box) => box[0] + box[2]));
    const bottom = Math.max(...boxes.map((box) => box[1] + box[3]));
    return [left, top, right - left, bottom - top];
  });
  const scale = Math.min(most, (MAX_SIDE - 2 * MARGIN) / Math.max(width, height));
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
