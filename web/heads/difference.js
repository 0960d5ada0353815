// Two maps of the same shape, both programmed with the same settings.

import { DUMMY } from "./roles.js";

/**
 * changed: heads whose role differs. common: the core-set ratio of the two sets of dummies, see core/heads/stability.py.
 * ownChunk: by head, how much more mass is on the own chunk here than there; most: the largest such change.
 */
export function difference(here, there) {
  let [changed, both, dummies] = [0, 0, 0];
  for (const [head, role] of here.roles.entries()) {
    const other = there.roles[head];
    changed += role !== other;
    both += role === DUMMY && other === DUMMY;
    dummies += (role === DUMMY) + (other === DUMMY);
  }
  const ownChunk = Float64Array.from(here.roles, (_, head) => here.masses[3 * head + 2] - there.masses[3 * head + 2]);
  const most = ownChunk.reduce((most, change) => Math.max(most, Math.abs(change)), 0);
  return { changed, common: dummies ? (2 * both) / dummies : 1, ownChunk, most };
}
