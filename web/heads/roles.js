// The three roles of heads: core/heads/roles.py.

export const [SINK, NEIGHBOR, DUMMY] = [0, 1, 2];

/** Role names as the node's `forced_roles` spells them, by number. */
export const LABELS = ["sink", "neighbor", "dummy"];

/** How many heads have each role. */
export function countRoles(roles) {
  const counts = [0, 0, 0];
  for (const role of roles) counts[role]++;
  return counts;
}
