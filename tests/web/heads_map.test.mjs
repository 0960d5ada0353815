import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { useWords } from "../../web/common/words.js";
import { Grid } from "../../web/heads/grid.js";
import { readMap, sameShape } from "../../web/heads/map_data.js";
import { MapStore } from "../../web/heads/map_store.js";
import { NodeSettings } from "../../web/heads/node_settings.js";
import { Protocol } from "../../web/heads/protocol.js";
import { figures, headName, mapName, standing } from "../../web/heads/words.js";

useWords(JSON.parse(readFileSync("locales/en/main.json")).dummyForcing);

const SETTINGS = { dummy_ratio: 0.5, cost: "normalised", forced_roles: "", inherited_roles: "", local_context: 1, packed_frames: 1 };
const RAW = {
  id: "a",
  node_id: "5",
  workflow_id: "w",
  made: 10,
  served: 10,
  origin: "measured",
  name: "",
  masses: [[[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]],
  roles: [[1, 2]],
  settings: SETTINGS,
  costs: { chunk_frames: 3, latent_frames: 21, fixed_flops: 1e12, flops_per_key_frame: 1e11 },
};

test("a map's tables become flat", () => {
  const map = readMap(RAW);
  assert.deepEqual([map.layers, map.heads, [...map.roles], [...map.masses]], [1, 2, [1, 2], [0.2, 0.3, 0.5, 0.1, 0.1, 0.8]]);
  assert.ok(sameShape(map, { layers: 1, heads: 2 }));
  assert.ok(!sameShape(map, { layers: 2, heads: 1 }));
});

test("what is no map is refused", () => {
  const wrong = [
    null,
    {},
    { ...RAW, roles: [] },
    { ...RAW, roles: [[1, 2], [1]] },
    { ...RAW, roles: [[1, 3]] },
    { ...RAW, masses: [[[0.2, 0.3, 0.5]]] },
    { ...RAW, masses: [[[0.2, 0.3, 0.5], [0.1, 0.9]]] },
    { ...RAW, masses: [[[0.2, 0.3, 0.5], [0.1, null, 0.8]]] },
    { ...RAW, masses: { length: 1 } },
    { ...RAW, origin: "<b>" },
    { ...RAW, served: undefined },
    { ...RAW, settings: { ...SETTINGS, cost: "none" } },
    { ...RAW, settings: undefined },
    { ...RAW, costs: { ...RAW.costs, latent_frames: 0 } },
  ];
  for (const raw of wrong) assert.throws(() => readMap(raw), TypeError, JSON.stringify(raw));
  assert.equal(readMap({ ...RAW, settings: { ...SETTINGS, local_context: null } }).settings.local_context, null);
});

test("a page keeps the four newest maps of a node", () => {
  const store = new MapStore();
  const map = (id, made, node_id = "5") => ({ id, made, served: made, node_id, workflow_id: "w" });
  for (const [index, id] of ["e", "a", "c", "b", "d"].entries()) store.add(map(id, [5, 1, 3, 2, 4][index]));
  store.add(map("d", 4));
  store.add(map("x", 2.5, "12:5"));
  store.add({ ...map("o", 9), workflow_id: "other" });
  assert.deepEqual(store.of("w").map(({ id }) => id), ["e", "d", "c", "x", "b"]);
  assert.deepEqual(store.newest("w").map(({ id }) => id), ["e", "x"]);
  const { runs, nodes } = store.beside(store.of("w")[1]);
  assert.deepEqual([runs, nodes].map((maps) => maps.map(({ id }) => id)), [["e", "c", "b"], ["x"]]);
  for (let each = 0; each < 100; each++) store.add(map(`n${each}`, 20 + each, String(each)));
  assert.equal(store.of("w").length, 64);
});

test("a map that was served again is the newest of its node, and of every other that got it", () => {
  const store = new MapStore();
  const map = (id, made, served = made, node_id = "5") => ({ id, made, served, node_id, workflow_id: "w" });
  const now = () => store.newest("w").map(({ id, node_id }) => `${id} on ${node_id}`);
  for (const each of [map("a", 1), map("b", 2), map("c", 3)]) store.add(each);
  assert.deepEqual(now(), ["c on 5"]);
  store.add(map("a", 1, 4));
  store.add(map("b", 2, 4)); // of the same token
  assert.deepEqual(now(), ["b on 5"]);
  store.add(map("b", 2)); // as it was told first
  store.add(map("b", 2, 5, "12:5"));
  assert.deepEqual(now(), ["b on 12:5", "b on 5"]);
  const { runs, nodes } = store.beside(store.of("w")[0]);
  assert.deepEqual([runs.length, nodes.map(({ id }) => id)], [0, ["a", "c"]]);
});

test("cells are found where they are drawn", () => {
  for (const [layers, heads] of [[30, 12], [40, 40], [4, 4], [1, 1]]) {
    const grid = new Grid({ layers, heads }, 320, 200);
    assert.ok(grid.right <= 320 && grid.bottom <= 200, `${layers} x ${heads}`);
    for (const at of [0, heads - 1, layers * heads - 1]) {
      const [x, y, width, height] = grid.cell(at);
      assert.equal(grid.at(x + width / 2, y + height / 2), at);
    }
    assert.deepEqual([grid.at(0, 0), grid.at(grid.right, 5), grid.at(grid.left, grid.bottom)], [null, null, null]);
  }
});

test("arrow keys stay on the map", () => {
  const grid = new Grid({ layers: 2, heads: 3 }, 320, 200);
  const walk = (at, ...keys) => keys.reduce((at, key) => grid.beside(at, key), at);
  assert.equal(walk(0, "ArrowUp", "ArrowLeft"), 0);
  assert.equal(walk(0, "ArrowDown", "ArrowDown", "ArrowRight"), 4);
  assert.equal(walk(4, "End"), 5);
  assert.equal(walk(5, "ArrowRight", "ArrowDown", "Home"), 3);
  assert.equal(grid.beside(0, "x"), null);
});

test("numbers on an axis have room", () => {
  assert.deepEqual(Grid.labels(4, 40), [0, 1, 2, 3]);
  assert.deepEqual(Grid.labels(12, 10), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(Grid.labels(40, 3), [0, 10, 20, 30]);
});

test("requests go to the routes of the protocol, and refusals are said", async () => {
  const asked = [];
  const answers = [{ maps: [RAW] }, { saved: [] }, RAW];
  const protocol = new Protocol({ fetchApi: async (path) => (asked.push(path), new Response(JSON.stringify(answers.shift()))) });
  assert.deepEqual([await protocol.list("a b"), await protocol.saved(), await protocol.savedMap("f0")], [[RAW], [], RAW]);
  assert.deepEqual(asked, ["/dummy_forcing/head_maps?workflow_id=a%20b", "/dummy_forcing/head_maps/saved", "/dummy_forcing/head_maps/saved/f0"]);
  const refusing = (body) => new Protocol({ fetchApi: async () => new Response(body, { status: 400 }) });
  await assert.rejects(refusing('{"error": "The file is damaged."}').savedMap("f0"), { message: "The file is damaged." });
  await assert.rejects(refusing("<html>").saved(), { message: "the server answers 400" });
});

/** A node as ComfyUI makes it, with widgets of these values. */
function nodeOf(values, linked = []) {
  const widgets = Object.entries(values).map(([name, value]) => ({ name, value, callback() {} }));
  const inputs = linked.map((name) => ({ widget: { name }, link: 1 }));
  return { widgets, inputs, setDirtyCanvas() {} };
}

test("settings are the node's widgets, and the run's where there is none or a link", () => {
  const node = nodeOf({ dummy_ratio: 0.25, cost: "paper", forced_roles: "0:0=sink" }, ["cost"]);
  const settings = new NodeSettings({}, node, () => {});
  assert.deepEqual(settings.read(SETTINGS), { ...SETTINGS, dummy_ratio: 0.25, forced_roles: "0:0=sink" });
  assert.deepEqual(["dummy_ratio", "cost", "packed_frames"].map((name) => settings.isOpen(name)), [true, false, false]);
});

test("what is written is told once, rounded as the widget rounds it", () => {
  const told = [];
  const node = nodeOf({ dummy_ratio: 0.5 });
  const [widget] = node.widgets;
  widget.callback = (value) => (widget.value = Math.round(100 * value) / 100);
  node.onWidgetChanged = (name, value, before) => told.push([name, value, before]);
  let changes = 0;
  const settings = new NodeSettings({}, node, () => changes++);
  settings.write("dummy_ratio", 0.251);
  settings.write("dummy_ratio", 0.25);
  assert.deepEqual([told, changes], [[["dummy_ratio", 0.25, 0.5]], 1]);
  widget.callback(0.3); // as the frontend does after a change of its own
  assert.equal(changes, 2);
});

test("a map says where it comes from", () => {
  assert.match(mapName({ origin: "measured", name: "a red circle", made: 1 }), /^measured · .*\d.* · a red circle$/);
  assert.equal(mapName({ origin: "saved", name: "mine", made: null }), "saved · mine");
  assert.equal(headName({ heads: 12 }, 41), "Layer 3, head 5");
});

test("a head says what it is", () => {
  assert.equal(standing({ role: 0 }), "sink");
  assert.equal(standing({ role: 1, otherwise: 2 }), "neighbor forced, else dummy");
  assert.equal(standing({ role: 1, otherwise: null }), "neighbor, forced by the profile");
  assert.equal(standing({ role: 0, there: 2 }), "sink here, dummy there");
  assert.equal(standing({ role: 0, there: 0 }), "sink");
});

test("figures are in per cent", () => {
  const found = figures(readMap(RAW), { retained: 0.8, kv: 0.2381, flops: 1 });
  assert.deepEqual(found.map(([, value]) => value), ["80.0 %", "23.8 %", "100.0 %"]);
});
