// Dynamic head programming as the server does it: core/heads/programming.py. Numbers are float64 in both.

import { DUMMY, NEIGHBOR, SINK } from "./roles.js";

const NONE = new Map();

/**
 * The role of every head, Uint8Array.
 *
 * masses: of each head on (frame 0, other history, own chunk), one head after the other. forced: head -> role, for
 * those that have it in any case. The others of least cost become dummies until round(ratio * heads) heads are.
 */
export function programHeads(masses, { ratio, cost, forced = NONE }) {
  const roles = Uint8Array.from(rolesWithHistory(masses, cost), (role, head) => forced.get(head) ?? role);
  const more = Math.max(0, dummiesFor(ratio, roles.length) - forcedDummies(forced));
  for (const head of cheapest(masses, cost, forced).slice(0, more)) roles[head] = DUMMY;
  return roles;
}

/** Share of the attention that heads keep under their roles, mean over heads. */
export function retainedMass(masses, roles) {
  let kept = 0;
  for (let head = 0; head < roles.length; head++) kept += keptBy(masses, head, roles[head]);
  return kept / roles.length;
}

/** The retained mass for every number of dummies, from 0 to all heads; forced roles hold. */
export function retainedCurve(masses, { cost, forced = NONE }) {
  const roles = programHeads(masses, { ratio: 0, cost, forced });
  const order = cheapest(masses, cost, forced);
  const given = forcedDummies(forced);
  let kept = retainedMass(masses, roles) * roles.length;
  return Float64Array.from({ length: roles.length + 1 }, (_, dummies) => {
    const head = order[dummies - given - 1];
    if (head !== undefined) kept += keptBy(masses, head, DUMMY) - keptBy(masses, head, roles[head]);
    return kept / roles.length;
  });
}

/** How many heads a ratio makes dummies, as Python rounds: halves to the even number. */
export function dummiesFor(ratio, heads) {
  const up = Math.round(ratio * heads);
  return up - ratio * heads === 0.5 && up % 2 ? up - 1 : up;
}

function forcedDummies(forced) {
  return [...forced.values()].filter((role) => role === DUMMY).length;
}

/** What a head is that is no dummy. */
function rolesWithHistory(masses, cost) {
  const { first, history } = weighed(masses, cost);
  return first.map((mass, head) => (mass >= history[head] ? SINK : NEIGHBOR));
}

/** Heads that are not forced, those that lose least without history first; of equals the lower one. */
function cheapest(masses, cost, forced) {
  const { first, history } = weighed(masses, cost);
  const costs = first.map((mass, head) => Math.max(mass, history[head]));
  const free = [...costs.keys()].filter((head) => !forced.has(head));
  return free.sort((one, other) => costs[one] - costs[other] || one - other);
}

/** Masses on frame 0 and on other history as the cost weighs them. */
function weighed(masses, cost) {
  const bin = (index) => Float64Array.from({ length: masses.length / 3 }, (_, head) => masses[3 * head + index]);
  const [first, history] = [bin(0), bin(1)];
  return cost === "normalised" ? { first: shares(first), history: shares(history) } : { first, history };
}

function shares(masses) {
  const total = masses.reduce((sum, mass) => sum + mass, 0);
  return masses.map((mass) => (total > 0 ? mass / total : 0));
}

function keptBy(masses, head, role) {
  const own = masses[3 * head + 2];
  return role === DUMMY ? own : masses[3 * head + role] + own;
}
