import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { costShares, keyFrames } from "../../web/heads/costs.js";
import { difference } from "../../web/heads/difference.js";
import { formatForced, parseForced, withForced } from "../../web/heads/forced_roles.js";
import { predict, roleOtherwise } from "../../web/heads/prediction.js";
import { dummiesFor, programHeads, retainedCurve, retainedMass } from "../../web/heads/programming.js";
import { DUMMY, NEIGHBOR, SINK, countRoles } from "../../web/heads/roles.js";

const { cases } = JSON.parse(readFileSync(new URL("../data/head_programming.json", import.meta.url)));
const SETTINGS = { dummy_ratio: 0.5, cost: "paper", forced_roles: "", inherited_roles: "", local_context: 1, packed_frames: 1 };
const COSTS = { chunk_frames: 3, latent_frames: 21, fixed_flops: 100, flops_per_key_frame: 10 };

// Costs 0.1 to 0.4; the third is a neighbor head, the others are sink heads.
const MASSES = Float64Array.of(0.1, 0.05, 0.85, 0.2, 0.1, 0.7, 0.1, 0.3, 0.6, 0.4, 0.1, 0.5);
const MAP = { layers: 2, heads: 2, masses: MASSES, roles: Uint8Array.of(2, 2, 1, 0), settings: SETTINGS, costs: COSTS };

/** A case of the file that Python's tests read, too. */
function caseOf({ masses, dummy_ratio: ratio, cost, forced_roles: text, roles, retained }) {
  const shape = { layers: roles.length, heads: roles[0].length };
  const { forced, unread } = parseForced(text, shape);
  assert.deepEqual(unread, []);
  return { masses: Float64Array.from(masses.flat(2)), options: { ratio, cost, forced }, roles: roles.flat(), retained };
}

test("heads get the roles and keep the mass that they do on the server", () => {
  assert.ok(cases.length);
  for (const { masses, options, roles, retained } of cases.map(caseOf)) {
    assert.deepEqual([...programHeads(masses, options)], roles);
    assert.ok(Math.abs(retainedMass(masses, roles) - retained) < 1e-9);
  }
});

test("the curve says what each number of dummies keeps", () => {
  for (const { masses, options } of cases.map(caseOf)) {
    const curve = retainedCurve(masses, options);
    for (let dummies = 0; dummies < curve.length; dummies++) {
      const roles = programHeads(masses, { ...options, ratio: dummies / (curve.length - 1) });
      assert.ok(Math.abs(curve[dummies] - retainedMass(masses, roles)) < 1e-9, `${dummies} dummies`);
    }
  }
});

test("halves go to the even number, as Python rounds", () => {
  assert.deepEqual([0.5, 1.5, 2.5, 3.5].map((heads) => dummiesFor(1, heads)), [0, 2, 2, 4]);
  assert.deepEqual([0, 0.35, 0.5, 1].map((ratio) => dummiesFor(ratio, 10)), [0, 4, 5, 10]);
});

test("cheap heads become dummies first, the lower one of two equal ones", () => {
  const equal = Float64Array.from({ length: 12 }, () => 1 / 3);
  assert.deepEqual([...programHeads(equal, { ratio: 0.5, cost: "normalised" })], [2, 2, 0, 0]);
  assert.deepEqual([...programHeads(MASSES, { ratio: 0.5, cost: "paper" })], [DUMMY, DUMMY, NEIGHBOR, SINK]);
});

test("a forced role holds, and forced dummies count", () => {
  const forced = new Map([[3, DUMMY]]);
  assert.deepEqual([...programHeads(MASSES, { ratio: 0.5, cost: "paper", forced })], [DUMMY, SINK, NEIGHBOR, DUMMY]);
  assert.deepEqual([...programHeads(MASSES, { ratio: 0, cost: "paper", forced })], [SINK, SINK, NEIGHBOR, DUMMY]);
  const all = new Map([...Array(4).keys()].map((head) => [head, SINK]));
  assert.deepEqual([...programHeads(MASSES, { ratio: 1, cost: "paper", forced: all })], [0, 0, 0, 0]);
});

test("forced roles are read and written as the node has them", () => {
  const shape = { layers: 11, heads: 6 };
  const { forced, unread } = parseForced(" 10 : 2=dummy,3:5= sink ,, 11:0=sink, 0:6=sink, 1:1=boss, 1-1, 3:5=dummy", shape);
  assert.deepEqual([...forced], [[62, DUMMY], [23, SINK]]);
  assert.deepEqual(unread, ["11:0=sink", "0:6=sink", "1:1=boss", "1-1", "3:5=dummy"]);
  assert.equal(formatForced(forced, shape), "3:5=sink, 10:2=dummy");
  assert.equal(formatForced(withForced(forced, 23, null), shape), "10:2=dummy");
  assert.equal(formatForced(withForced(forced, 0, NEIGHBOR), shape), "0:0=neighbor, 3:5=sink, 10:2=dummy");
  assert.equal(forced.size, 2);
});

test("heads read the frames of their role", () => {
  const frames = (settings, costs = COSTS) => [SINK, NEIGHBOR, DUMMY].map((role) => keyFrames(role, { ...SETTINGS, ...settings }, costs));
  assert.deepEqual(frames({}), [4, 6, 4]);
  assert.deepEqual(frames({ local_context: 4, packed_frames: 0 }), [4, 15, 3]);
  assert.deepEqual(frames({ local_context: 9 }), [4, 20, 4]); // all but frame 0
  assert.deepEqual(frames({ local_context: null }), [21, 21, 4]);
  assert.deepEqual(frames({}, { ...COSTS, latent_frames: 3 }), [3, 3, 3]);
});

test("costs are shares of dense attention's", () => {
  const { kv, flops } = costShares(Uint8Array.of(0, 1, 2, 2), SETTINGS, COSTS);
  assert.equal(kv, 4.5 / 21);
  assert.equal(flops, 145 / 310);
  assert.deepEqual(costShares(Uint8Array.of(0, 1), { ...SETTINGS, local_context: null }, COSTS), { kv: 1, flops: 1 });
});

test("a prediction has the run's own roles as long as its settings hold", () => {
  const used = { ...MAP, roles: Uint8Array.of(2, 0, 2, 0) }; // as if digits cut off had decided
  assert.deepEqual([...predict(used, SETTINGS).roles], [2, 0, 2, 0]);
  assert.ok(predict(used, { ...SETTINGS, forced_roles: " " }).asUsed);
  const other = predict(used, { ...SETTINGS, dummy_ratio: 0.25 });
  assert.deepEqual([[...other.roles], other.asUsed, other.counts], [[2, 0, 1, 0], false, [2, 1, 1]]);
});

test("a forced head knows what it would be otherwise", () => {
  const settings = { ...SETTINGS, forced_roles: "0:0=sink, 1:1=dummy, nonsense" };
  const { roles, own, unread } = predict(MAP, settings);
  assert.deepEqual([[...roles], unread], [[SINK, DUMMY, NEIGHBOR, DUMMY], ["nonsense"]]);
  assert.equal(roleOtherwise(MAP, settings, own, 0), DUMMY);
  assert.equal(roleOtherwise(MAP, settings, own, 3), SINK);
});

test("roles that a profile brings hold below those of the node", () => {
  const made = { ...SETTINGS, forced_roles: "0:0=sink, 1:1=dummy", inherited_roles: "0:0=sink, 1:1=dummy" };
  const used = { ...MAP, settings: made };
  const node = { ...made, forced_roles: "" };
  assert.ok(predict(used, node).asUsed);
  const { roles, own, forced, asUsed } = predict(used, { ...node, forced_roles: "1:1=neighbor" });
  assert.deepEqual([roles[0], roles[3], own.size, forced.size, asUsed], [SINK, NEIGHBOR, 1, 2, false]);
  assert.equal(roleOtherwise(used, node, own, 3), DUMMY); // the profile's
});

test("a difference counts roles that differ and dummies in common", () => {
  const here = { roles: Uint8Array.of(2, 2, 1, 0), masses: MASSES };
  const there = { roles: Uint8Array.of(2, 0, 1, 2), masses: MASSES.map((mass, at) => (at === 2 ? mass - 0.25 : mass)) };
  const found = difference(here, there);
  assert.deepEqual([found.changed, found.common, found.most], [2, 0.5, 0.25]);
  assert.deepEqual([...found.ownChunk], [0.25, 0, 0, 0]);
  const none = { roles: Uint8Array.of(0, 0, 1, 0), masses: MASSES };
  assert.deepEqual([difference(none, none).common, difference(none, none).changed], [1, 0]);
});

test("roles are counted by their numbers", () => assert.deepEqual(countRoles([2, 0, 2, 1, 2]), [1, 1, 3]));
