import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { findNode } from "../../web/common/graph.js";
import { useWords } from "../../web/common/words.js";
import { supersedes } from "../../web/live/supersedes.js";
import { Protocol } from "../../web/live/protocol.js";
import { byteSize, clockTime, figures, standing } from "../../web/live/words.js";

useWords(JSON.parse(readFileSync(new URL("../../locales/en/main.json", import.meta.url), "utf8")).dummyForcing);

const STATE = { prompt_id: "p/1", id: "s" };

function server(answer, status = 200) {
  const asked = [];
  const fetchApi = async (path, options) => {
    asked.push([path, options?.method ?? "GET", options?.body]);
    return new Response(JSON.stringify(answer), { status });
  };
  return [new Protocol({ fetchApi }), asked];
}

test("requests go to the routes of the protocol", async () => {
  const [protocol, asked] = server({ streams: [STATE] });
  assert.deepEqual(await protocol.list("a b"), [STATE]);
  await protocol.chunk(STATE, 3);
  await protocol.changePrompt(STATE, "a red circle");
  await protocol.stop(STATE);
  const one = "/dummy_forcing/streams/p%2F1/s";
  assert.deepEqual(asked, [
    ["/dummy_forcing/streams?workflow_id=a%20b", "GET", undefined],
    [`${one}/chunks/3`, "GET", undefined],
    [`${one}/prompt`, "POST", '{"text":"a red circle"}'],
    [`${one}/stop`, "POST", "{}"],
  ]);
});

test("what the server refuses is said in the reader's words, or in the server's", async () => {
  const refused = async (answer, message) => assert.rejects(server(answer, 409)[0].stop(STATE), { message });
  await refused({ code: "over", error: "It is over." }, "The video is over.");
  await refused({ error: "Send a JSON object." }, "Send a JSON object.");
  await refused({}, "the server answers 409");
});

test("nodes are found in subgraphs", () => {
  const graph = (nodes) => ({ getNodeById: (id) => nodes[id] });
  const inner = { id: 5 };
  const root = graph({ 12: { id: 12, subgraph: graph({ 5: inner }) }, 5: { id: 5 } });
  assert.equal(findNode(root, "12:5"), inner);
  assert.equal(findNode(root, "5").id, 5);
  assert.equal(findNode(root, "5:12"), null);
  assert.equal(findNode(root, "7"), null);
});

test("old news and old streams do not come back", () => {
  const shown = { id: "a", revision: 3, served: 10 };
  assert.ok(supersedes(shown, null));
  assert.ok(supersedes({ id: "a", revision: 4, served: 10 }, shown));
  assert.ok(!supersedes({ id: "a", revision: 3, served: 10 }, shown));
  assert.ok(supersedes({ id: "b", revision: 0, served: 11 }, shown));
  assert.ok(!supersedes({ id: "b", revision: 9, served: 9 }, shown));
  assert.ok(supersedes({ id: "a", revision: 3, served: 12 }, { id: "b", revision: 9, served: 11 }), "served again");
  assert.ok(supersedes({ id: "a", revision: 3, served: 12 }, shown), "it is shown, and known to be served again");
  const mine = { ...shown, status: "running", prompt_id: "mine" };
  const theirs = { id: "b", revision: 0, served: 11, prompt_id: "theirs" };
  assert.ok(!supersedes(theirs, mine, new Set(["mine"])));
  assert.ok(supersedes(theirs, { ...mine, status: "finished" }, new Set(["mine"])));
  assert.ok(supersedes(theirs, mine));
});

test("numbers read like a clock and a size", () => {
  assert.deepEqual([0, 75.4, 3700, -1].map((seconds) => clockTime(seconds)), ["0:00", "1:15", "1:01:40", "0:00"]);
  assert.deepEqual([0.5625, 59.99, 75.4375].map((seconds) => clockTime(seconds, true)), ["0:00.5", "0:59.9", "1:15.4"]);
  assert.deepEqual([12, 1536, 3 * 2 ** 20, 5 * 2 ** 30].map(byteSize), ["12 B", "1.5 KiB", "3.0 MiB", "5.0 GiB"]);
});

test("a stream says where it stands", () => {
  const running = { status: "running", chunks: 7, stopping: false };
  assert.equal(standing(running, 0), "chunk 0/7");
  assert.equal(standing({ ...running, status: "failed" }, 0), "failed");
  assert.equal(standing(running, 3), "chunk 3/7");
  assert.equal(standing({ ...running, chunks: null }, 3), "chunk 3");
  assert.equal(standing({ ...running, stopping: true }, 3), "stopping after chunk 3/7");
  assert.equal(standing({ ...running, status: "stopped" }, 3), "stopped after chunk 3/7");
  const costs = { ...running, fps: 3.21, kv_bytes: 2 ** 20, seconds_left: 61.2 };
  assert.deepEqual(figures(costs), ["3.2 FPS", "KV 1.0 MiB", "1:02 left"]);
  assert.deepEqual(figures({ ...costs, status: "finished" }), ["3.2 FPS", "KV 1.0 MiB"]);
  assert.deepEqual(figures({ ...running, fps: null, kv_bytes: null, seconds_left: null }), []);
});
