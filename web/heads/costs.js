// What heads cost under their roles, as shares of dense attention.

import { DUMMY, SINK } from "./roles.js";

/** Latent frames that a head reads and holds, its own chunk included. */
export function keyFrames(role, { local_context: chunks, packed_frames: packed }, { chunk_frames: chunk, latent_frames: all }) {
  const history = Math.max(0, all - chunk);
  if (role === DUMMY) return chunk + Math.min(packed, history);
  if (chunks === null) return chunk + history;
  if (role === SINK) return chunk + Math.min(1, history);
  return chunk + Math.min(chunks * chunk, Math.max(0, history - 1)); // frame 0 is the sink heads'
}

/** Shares of dense: `kv` of the memory, `flops` of a pass over the last chunk. */
export function costShares(roles, settings, costs) {
  const frames = roles.reduce((sum, role) => sum + keyFrames(role, settings, costs), 0) / roles.length;
  const flops = (read) => costs.fixed_flops + costs.flops_per_key_frame * read;
  return { kv: frames / costs.latent_frames, flops: flops(frames) / flops(costs.latent_frames) };
}
