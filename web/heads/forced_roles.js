// Roles that people give to heads by hand, as the widget `forced_roles` has them: "3:5=sink, 10:2=dummy".

import { LABELS } from "./roles.js";

const PART = /^(\d+)\s*:\s*(\d+)\s*=\s*(\w+)$/;

/**
 * Read the text for a model of `layers` x `heads`. Gives `forced`, a Map from the head's number (layer * heads + head)
 * to its role, and `unread`, the parts that name no head, no role or a second one for a head.
 */
export function parseForced(text, { layers, heads }) {
  const forced = new Map();
  const unread = [];
  for (const part of String(text ?? "").split(",").map((each) => each.trim())) {
    if (!part) continue;
    const [, layer, head, label] = PART.exec(part) ?? [];
    const role = LABELS.indexOf(label);
    const at = layer * heads + Number(head);
    if (role < 0 || layer >= layers || head >= heads || (forced.get(at) ?? role) !== role) unread.push(part);
    else forced.set(at, role);
  }
  return { forced, unread };
}

/** The text of forced roles, by layer and head. */
export function formatForced(forced, { heads }) {
  const numbers = [...forced.keys()].sort((one, other) => one - other);
  return numbers.map((at) => `${Math.floor(at / heads)}:${at % heads}=${LABELS[forced.get(at)]}`).join(", ");
}

/** The same with another role for one head; null leaves it to the programming. */
export function withForced(forced, at, role) {
  const changed = new Map(forced);
  if (role === null) changed.delete(at);
  else changed.set(at, role);
  return changed;
}
