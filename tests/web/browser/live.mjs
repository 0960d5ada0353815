// The live stream in a real browser, in front of a real ComfyUI: `make test-browser`.
//
//   node live.mjs URL OUTPUT [--only=classic|nodes2|classic_many|nodes2_many|numbers]
//
// In both renderers: a stream plays while it is made, takes another prompt, is there in a second tab and after a
// reload, and stops with what it has; three nodes play at once, one of them then in a subgraph. Then 200 chunks of
// numbered frames, of which none may be missing or double.
// Pictures go to OUTPUT, to be looked at. Exits with 1 when something is wrong; errors on the console are.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { enter, runToEnd, settle } from "../../../tools/canvas/canvas.mjs";
import { loadGraph, readWorkflow, readArguments, runTests } from "./page.mjs";

const WORKFLOW = "toy_world_streaming";
const FIRST_FRAME_MS = 1000; // from the first chunk's last decoded frame on the server to its first on the screen
const NEW_PROMPT = "a red square moving up";
const LENGTH = 321; // frames: longer than the test

const { url, output, only } = readArguments();
const settings = (nodes2) => ({ "Comfy.VueNodes.Enabled": nodes2, "Comfy.Workflow.Persist": true });
const tests = {
  classic: (open) => streams(open, false),
  nodes2: (open) => streams(open, true),
  classic_many: (open) => many(open, false),
  nodes2_many: (open) => many(open, true),
  numbers,
};
const { measured, failed } = await runTests(tests, url, only);
writeFileSync(join(output, "measured.json"), JSON.stringify({ command: "make test-browser", ...measured }, null, 2) + "\n");
process.exit(failed ? 1 : 0);

/** One renderer, from the first chunk to the stop. */
async function streams(open, nodes2) {
  const graph = readWorkflow(WORKFLOW);
  const name = nodes2 ? "nodes2" : "classic";
  const page = await open(settings(nodes2));
  await listen(page);
  const shot = (part) => page.screenshot({ path: join(output, `${name}_${part}.png`) });
  await loadGraph(page, graph);
  assert.equal(await page.locator(".dummy-forcing-live").count(), 0, "no player before there is a stream");
  const times = await queueAndTime(page);
  assert.ok(times.decoded_to_frame_ms <= FIRST_FRAME_MS, `the first frame came after ${times.decoded_to_frame_ms} ms`);
  await shot("1_first_chunk");

  await page.locator(".dummy-forcing-form input").fill(NEW_PROMPT);
  await page.locator(".dummy-forcing-form button").click();
  await page.waitForFunction((text) => window.news.at(-1)?.prompts.at(-1)?.text === text, NEW_PROMPT);
  await page.getByText(NEW_PROMPT, { exact: true }).waitFor();
  await settle(page);
  await shot("2_another_prompt");

  const other = await open(settings(nodes2));
  await loadGraph(other, await page.evaluate(() => window.app.graph.serialize()));
  await playing(other);
  await other.screenshot({ path: join(output, `${name}_3_second_tab.png`) });

  await page.reload();
  await enter(page);
  await listen(page);
  await playing(page);
  assert.equal(await page.locator(".dummy-forcing-live").count(), 1);
  await shot("4_after_reload");

  await scrubs(page);
  await page.getByRole("button", { name: "Stop and keep what is finished" }).click();
  for (const each of [page, other]) await each.getByText(/^stopped after chunk/).waitFor();
  await page.waitForFunction(() => window.ended);
  await settle(page);
  await shot("5_stopped");
  await plays(page);
  await page.route("**/dummy_forcing/streams?*", (route) => route.fulfill({ json: { streams: [] } }));
  await page.evaluate(() => window.app.api.dispatchEvent(new CustomEvent("reconnected"))); // as if it were a new server
  await page.getByText("This video is no longer on the server.").waitFor();
  await page.evaluate(() => window.app.graph.remove(window.app.graph.nodes.find((node) => node.type === "DummyForcingStreamVideo")));
  await page.locator(".dummy-forcing-live").waitFor({ state: "detached" });
  await Promise.all([page.close(), other.close()]);
  return times;
}

/** Keep what the server tells of streams in `news`, and whether the run is over in `ended`. */
function listen(page) {
  return page.evaluate(() => {
    window.news = [];
    const { api } = window.app;
    api.addEventListener("dummy_forcing.stream", ({ detail }) => window.news.push(detail));
    for (const type of ["execution_success", "execution_error", "execution_interrupted"]) {
      api.addEventListener(type, () => (window.ended = type));
    }
  });
}

/** Run a long stream whose prompt can be changed; milliseconds until the first frame is on the screen. */
async function queueAndTime(page) {
  const times = await page.evaluate(async (length) => {
    const { app } = window;
    const find = (type) => app.graph.nodes.find((node) => node.type === type);
    const [stream, world] = [find("DummyForcingStreamVideo"), find("DummyForcingToyWorld")];
    world.connect(world.findOutputSlot("clip"), stream, stream.findInputSlot("clip"));
    stream.widgets.find(({ name }) => name === "length").value = length;
    stream.widgets.find(({ name }) => name === "seed").value = Math.floor(1e9 * Math.random());
    const times = {};
    app.api.addEventListener("dummy_forcing.stream", ({ detail }) => {
      if (detail.runs.length && !times.news) Object.assign(times, { news: Date.now(), decoded: 1000 * detail.decoded_at });
    });
    const shown = new Promise((resolve) => {
      const look = () => {
        const player = document.querySelector(".dummy-forcing-live");
        if (player) player.addEventListener("frameshown", () => requestAnimationFrame(() => resolve(Date.now())), { once: true });
        else requestAnimationFrame(look);
      };
      look();
    });
    await app.queuePrompt(0);
    times.shown = await shown;
    return times;
  }, LENGTH);
  await settle(page);
  return { decoded_to_frame_ms: Math.round(times.shown - times.decoded), news_to_frame_ms: times.shown - times.news };
}

/** Wait until the player shows new frames. */
async function playing(page) {
  await page.locator(".dummy-forcing-live").waitFor();
  await page.evaluate(
    () => new Promise((resolve) => document.querySelector(".dummy-forcing-live").addEventListener("frameshown", resolve, { once: true })),
  );
}

/** The slider shows other frames, also while paused; the keyboard moves it too. */
async function scrubs(page) {
  await page.getByRole("button", { name: "Pause" }).click();
  const slider = page.getByRole("slider", { name: "Position in the video" });
  const shownAfter = async (act) => {
    const shown = page.evaluate(
      () => new Promise((resolve) => document.querySelector(".dummy-forcing-live").addEventListener("frameshown", ({ detail }) => resolve(detail), { once: true })),
    );
    await act();
    return shown;
  };
  assert.equal(await shownAfter(() => slider.fill("3")), 3);
  assert.equal(await shownAfter(() => slider.press("ArrowRight")), 4);
  assert.equal(await shownAfter(() => slider.press("Home")), 0);
  const edge = await shownAfter(() => page.getByRole("button", { name: "Go to the newest chunk" }).click());
  assert.ok(edge >= 9, `live began at frame ${edge}`);
  await page.getByRole("button", { name: "Pause" }).waitFor();
}

/** What has been stopped plays from its beginning to its end. */
async function plays(page) {
  const made = await page.evaluate(() => window.news.at(-1).runs.reduce((sum, [chunks, frames]) => sum + chunks * frames, 0));
  await page.getByRole("button", { name: "Play" }).waitFor();
  const shown = page.evaluate(
    (made) =>
      new Promise((resolve) => {
        const frames = [];
        document.querySelector(".dummy-forcing-live").addEventListener("frameshown", ({ detail }) => {
          frames.push(detail);
          if (detail === made - 1) resolve(frames);
        });
      }),
    made,
  );
  await page.getByRole("button", { name: "Play" }).click();
  assert.deepEqual(await shown, Array.from({ length: made }, (_, frame) => frame));
}

/** Three streams in one graph, then one of them in a subgraph. */
async function many(open, nodes2) {
  const name = nodes2 ? "nodes2" : "classic";
  const page = await open(settings(nodes2));
  await loadGraph(page, readWorkflow(WORKFLOW));
  await page.evaluate(() => {
    const { graph } = window.app;
    const stream = graph.nodes.find((node) => node.type === "DummyForcingStreamVideo");
    const links = stream.inputs.map(({ link }, slot) => [graph.links.get(link), slot]).filter(([link]) => link);
    for (const node of graph.nodes.filter(({ type }) => ["SaveVideo", "PreviewAny"].includes(type))) graph.remove(node);
    const copies = [1, 2].map((index) => {
      const copy = graph.add(stream.clone()) ?? graph.nodes.at(-1);
      copy.pos = [stream.pos[0] + 380 * index, stream.pos[1]];
      for (const [link, slot] of links) graph.getNodeById(link.origin_id).connect(link.origin_slot, copy, slot);
      return copy;
    });
    for (const [index, node] of [stream, ...copies].entries()) {
      node.widgets.find((widget) => widget.name === "length").value = 9;
      node.widgets.find((widget) => widget.name === "seed").value = Math.floor(1e9 * Math.random()) + index;
    }
    window.stream = stream;
  });
  assert.equal((await runToEnd(page)).type, "execution_success");
  await page.waitForFunction(() => [...document.querySelectorAll(".dummy-forcing-status")].filter((part) => part.textContent === "finished").length === 3);
  await settle(page);
  await page.screenshot({ path: join(output, `${name}_6_many.png`) });

  await page.evaluate(() => (window.holder = window.app.graph.convertToSubgraph(new Set([window.stream])).node));
  await page.evaluate(() => {
    const [inner] = window.holder.subgraph.nodes;
    inner.widgets.find((widget) => widget.name === "seed").value = Math.floor(1e9 * Math.random());
  });
  assert.equal((await runToEnd(page)).type, "execution_success");
  await page.evaluate(() => window.app.canvas.openSubgraph(window.holder.subgraph, window.holder));
  await page.locator(".dummy-forcing-live:visible").waitFor();
  await settle(page);
  assert.equal(await page.locator(".dummy-forcing-live:visible").count(), 1);
  await page.screenshot({ path: join(output, `${name}_7_subgraph.png`) });
  await page.close();
}

/** 200 chunks in the player: every frame's number, read from the screen. */
async function numbers(open) {
  const [chunks, frames, run] = [200, 4, Math.floor(1e9 * Math.random())];
  const page = await open(settings(false));
  const found = await page.evaluate(
    async ([chunks, frames, run]) => {
      const { api } = window.app;
      const folder = (await (await api.fetchApi("/extensions")).json()).find((path) => path.endsWith("/live/player.js"));
      const [{ Player }, { Protocol }] = await Promise.all([import(folder), import(folder.replace("player.js", "protocol.js"))]);
      const player = new Player(new Protocol(api));
      const open = player.open.bind(player);
      player.open = (state) => (open(state), (player.cache.mostBytes = 50_000)); // a tenth of them all: chunks have to go
      const holder = document.body.appendChild(document.createElement("div"));
      holder.style = "position: fixed; inset: 100px; z-index: 9999; background: var(--comfy-menu-bg)";
      holder.append(player.element);
      const seen = [];
      let mostBitmaps = 0;
      const read = (canvas) => {
        const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let number = 0;
        for (let bit = 0; bit < 16; bit++) {
          const at = 4 * ((height >> 1) * width + bit * 8 + 4);
          if (data[at] > 127) number |= 1 << bit;
        }
        return number;
      };
      const all = new Promise((resolve) => {
        player.element.addEventListener("frameshown", () => {
          seen.push(read(player.view.canvas));
          mostBitmaps = Math.max(mostBitmaps, player.bitmaps.size);
          if (seen.length >= chunks * frames) resolve();
        });
      });
      api.addEventListener("dummy_forcing.stream", ({ detail }) => {
        if (detail.workflow_id === `numbered-${run}`) player.update(detail);
      });
      const inputs = { chunks, frames, chunks_a_second: 40, frame_rate: 60, run };
      const prompt = { 1: { class_type: "TestNumberedStream", inputs } };
      const headers = { "Content-Type": "application/json" };
      await api.fetchApi("/prompt", { method: "POST", headers, body: JSON.stringify({ prompt, client_id: api.clientId }) });
      const began = performance.now();
      await all;
      const seconds = (performance.now() - began) / 1000;
      const again = new Promise((resolve) => player.element.addEventListener("frameshown", () => resolve(read(player.view.canvas)), { once: true }));
      player.goTo(0); // long gone from memory
      return { seen: [...seen], mostBitmaps, bytes: player.cache.bytes, seconds, again: await again };
    },
    [chunks, frames, run],
  );
  await page.screenshot({ path: join(output, "numbers.png") });
  assert.deepEqual(found.seen, Array.from({ length: chunks * frames }, (_, frame) => frame));
  assert.ok(found.mostBitmaps <= 8, `${found.mostBitmaps} decoded frames at once`);
  assert.ok(found.bytes <= 50_000, `${found.bytes} bytes of chunks kept`);
  assert.equal(found.again, 0);
  await page.close();
  return { frames: found.seen.length, seconds: found.seconds, most_bitmaps: found.mostBitmaps, cache_bytes: found.bytes };
}
