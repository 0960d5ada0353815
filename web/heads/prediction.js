// What a map's heads would be under other settings than those it was made with, and what that would keep and cost.

import { costShares } from "./costs.js";
import { parseForced, withForced } from "./forced_roles.js";
import { programHeads, retainedMass } from "./programming.js";
import { countRoles } from "./roles.js";

/**
 * settings: as a map's. Of the forced roles, `own` are those that the node sets over what its profile brings. `asUsed`
 * says that the settings are those of the run itself, whose roles are then taken as they were.
 */
export function predict(map, settings) {
  const { forced: own, unread } = parseForced(settings.forced_roles, map);
  const forced = new Map([...inheritedRoles(map, settings), ...own]);
  const asUsed = sameRoles(settings, forced, map);
  const roles = asUsed ? map.roles : programHeads(map.masses, programme(settings, forced));
  return {
    roles,
    forced,
    own,
    unread,
    asUsed,
    counts: countRoles(roles),
    retained: retainedMass(map.masses, roles),
    ...costShares(roles, settings, map.costs),
  };
}

/** The role that a head has if the node does not force it; `own`: what the node forces. */
export function roleOtherwise(map, settings, own, head) {
  const forced = new Map([...inheritedRoles(map, settings), ...withForced(own, head, null)]);
  return programHeads(map.masses, programme(settings, forced))[head];
}

const inheritedRoles = (map, settings) => parseForced(settings.inherited_roles, map).forced;
const programme = ({ dummy_ratio: ratio, cost }, forced) => ({ ratio, cost, forced });

function sameRoles(settings, forced, map) {
  const made = map.settings;
  if (settings.dummy_ratio !== made.dummy_ratio || settings.cost !== made.cost) return false;
  const { forced: used } = parseForced(made.forced_roles, map);
  return forced.size === used.size && [...forced].every(([head, role]) => used.get(head) === role);
}
