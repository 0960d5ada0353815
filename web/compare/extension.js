// On every Compare Videos node: both videos in one player with a wipe, how far they are apart, what each has cost.

import { streamPlayers } from "../live/players.js";
import { Comparison } from "./comparison.js";

export function compareVideos(app, api) {
  const place = { node: "DummyForcingCompare", widget: "dummy_forcing_compare", leastHeight: 400 };
  return streamPlayers(app, api, { name: "DummyForcing.Compare", ...place, Part: Comparison });
}
