// Every number of every node of ours, typed and clicked in a real browser: `make test-browser`.
//
//   node numbers.mjs URL OUTPUT [--only=classic|nodes2]
//
// All nodes lie on one canvas. What the server says of their inputs says what to type: the ends of the range, the
// default, the numbers beside it, and those that help names; then the arrows. What counts is what would be sent to the
// server. Exits with 1 when a number is not what was typed; errors on the console count.

import assert from "node:assert/strict";
import { join } from "node:path";
import { CanvasNumber, VueNumber } from "./number_widgets.mjs";
import { loadGraph, readArguments, runTests } from "./page.mjs";

// What help names as valid, or what people bring, by input; and decimals for all that are no whole numbers.
const NAMED = { length: [9, 13, 21, 33, 93], width: [96, 480, 1280], height: [96, 464, 720], seed: [2 ** 32 + 1] };
const DECIMALS = [0.33, 0.125, 0.875];
const LAID_OUT_MS = 500;
const EMPTY = { id: crypto.randomUUID(), version: 0.4, nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0 };

const { url, output, only } = readArguments();
const tests = { classic: (open) => numbers(open, false), nodes2: (open) => numbers(open, true) };
const { failed } = await runTests(tests, url, only);
process.exit(failed ? 1 : 0);

/** All numbers in one renderer; gives how many there are and how many were typed. */
async function numbers(open, nodes2) {
  const page = await open({ "Comfy.VueNodes.Enabled": nodes2, "Comfy.Node.AlwaysShowAdvancedWidgets": true });
  await loadGraph(page, EMPTY);
  const widget = nodes2 ? new VueNumber(page) : new CanvasNumber(page);
  const [wrong, count] = [[], { numbers: 0, typed: 0 }];
  for (const node of await nodesWithNumbers()) {
    const id = await page.evaluate(addNode, node);
    await page.waitForTimeout(LAID_OUT_MS);
    for (const number of node.numbers) {
      const check = (what, sent, expected) => {
        if (!Object.is(sent, expected)) wrong.push(`${node.type}.${number.name}: ${what} gives ${sent}, expected ${expected}`);
      };
      await widget.find(id, number.name);
      for (const value of valuesFor(number)) {
        await widget.type(value);
        check(`typing ${value}`, await sentOf(page, id, number.name), value);
        count.typed++;
        for (const [direction, expected] of arrowsAt(value, number)) {
          await widget.arrow(direction);
          check(`an arrow (${direction}) after typing ${value}`, await sentOf(page, id, number.name), expected);
        }
      }
      count.numbers++;
    }
  }
  await page.screenshot({ path: join(output, `${nodes2 ? "nodes2" : "classic"}.png`) });
  assert.deepEqual(wrong, []);
  await page.close();
  return count;
}

/** Every node type of ours that has numbers, once for each choice of a dynamic combo that brings more of them. */
async function nodesWithNumbers() {
  const info = await (await fetch(`${url}/object_info`)).json();
  const ours = Object.keys(info).filter((type) => type.startsWith("DummyForcing"));
  assert.ok(ours.length > 10, `only ${ours}`);
  return ours.flatMap((type) => {
    const inputs = { ...info[type].input.required, ...info[type].input.optional };
    const chosen = Object.entries(inputs).flatMap(([combo, [kind, options]]) =>
      kind === "COMFY_DYNAMICCOMBO_V3"
        ? options.options.map(({ key, inputs }) => ({ combo, key, numbers: numbersIn({ ...inputs.required, ...inputs.optional }, `${combo}.`) }))
        : [],
    );
    return [{ type, numbers: numbersIn(inputs) }, ...chosen.map((choice) => ({ type, ...choice }))].filter(({ numbers }) => numbers.length);
  });
}

function numbersIn(inputs, prefix = "") {
  return Object.entries(inputs)
    .filter(([, [kind]]) => ["INT", "FLOAT"].includes(kind))
    .map(([name, [kind, { min, max, step, default: usual }]]) => ({ name: prefix + name, kind, min, max, usual, step: step ?? 1 }));
}

function valuesFor({ name, kind, min, max, usual, step }) {
  const beside = [min, max, usual].flatMap((value) => [value, value - step, value + step]).map((value) => tidy(value));
  const known = kind === "FLOAT" ? DECIMALS : (NAMED[name] ?? []);
  return [...new Set([...beside, ...known])].filter((value) => min <= value && value <= max);
}

/** Arrows clicked one after the other, and what each should give: a step up and back from the default, none past the ends. */
function arrowsAt(value, { min, max, usual, step }) {
  const arrows = [];
  if (value === min) arrows.push([-1, min]);
  if (value === max) arrows.push([1, max]);
  if (value === usual && usual + step <= max) arrows.push([1, tidy(usual + step)], [-1, usual]);
  return arrows;
}

/** Without what binary fractions add: 0.1 + 0.2 is 0.3. */
function tidy(value) {
  return Number(value.toFixed(6));
}

/** In the page: a node of its own, with a choice made where one is needed. Gives its id. */
function addNode({ type, combo, key }) {
  const { app, LiteGraph } = window;
  const node = LiteGraph.createNode(type);
  const bottom = app.graph.nodes.map(({ pos, size }) => pos[1] + size[1]);
  node.pos = [0, Math.max(0, ...bottom) + 80];
  app.graph.add(node);
  if (combo) {
    const widget = node.widgets.find(({ name }) => name === combo);
    widget.value = key;
    widget.callback?.(key);
  }
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [400, 100 - node.pos[1]];
  app.canvas.setDirty(true, true);
  return node.id;
}

/** What the server would be sent. */
function sentOf(page, id, name) {
  return page.evaluate(async ([id, name]) => (await window.app.graphToPrompt()).output[id].inputs[name], [id, name]);
}
