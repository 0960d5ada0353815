// What a map says.

import { word } from "../common/words.js";
import { LABELS } from "./roles.js";

export const BINS = ["first", "history", "own"]; // of a head's masses

export function roleName(role) {
  const label = LABELS[role];
  return word(`heads.role.${label}`);
}

export const binName = (bin) => word(`heads.bin.${bin}`);

/** 0.1234 -> "12.3 %" */
export const percent = (share) => `${tenths(share)} %`;

const tenths = (share) => (100 * share).toFixed(1);

export function headName(map, at) {
  return word("heads.at", { layer: Math.floor(at / map.heads), head: at % map.heads });
}

/** What a map was made from, and when. */
export function mapName({ origin, name, made }) {
  const time = made ? new Date(1000 * made).toLocaleTimeString([], { hourCycle: "h23" }) : "";
  return [word(`heads.origin.${origin}`), time, name].filter(Boolean).join(" · ");
}

/** Numbers beside the slider: [name, value, explanation]. */
export function figures(map, { retained, kv, flops }) {
  const { latent_frames: frames } = map.costs;
  return [
    [word("heads.kept"), percent(retained), word("heads.kept_means")],
    [word("heads.kv"), percent(kv), word("heads.kv_means", { frames })],
    [word("heads.flops"), percent(flops), word("heads.flops_means", { frames })],
  ];
}

/** Numbers of a comparison. */
export function differenceFigures(here, there, { changed, common }) {
  return [
    [word("heads.changed"), word("heads.of", { count: changed, heads: here.roles.length }), ""],
    [word("heads.common"), percent(common), word("heads.common_means")],
    [word("heads.kept"), `${tenths(here.retained)} / ${percent(there.retained)}`, word("heads.kept_means")],
  ];
}

/** What a head is: its role, whether that is forced, here (and what it is otherwise) or by a profile (null); and elsewhere. */
export function standing({ role, otherwise, there }) {
  const name = roleName(role);
  if (there !== undefined && there !== role) return word("heads.roles_differ", { here: name, there: roleName(there) });
  if (otherwise === null) return word("heads.forced_by_profile", { role: name });
  return otherwise === undefined ? name : word("heads.forced", { role: name, otherwise: roleName(otherwise) });
}
