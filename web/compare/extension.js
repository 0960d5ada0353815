// On every Compare Videos node: both videos in one player with a wipe, how far they are apart, what each has cost.

import { streamPlayers } from "../live/players.js";
import { Comparison } from "./comparison.js";

export function compareVideos(app, api) {
  return streamPlayers(app, api, {
    name: "DummyForcing.Compare",
    node: "DummyForcingCompare",
    widget: "dummy_forcing_compare",
    leastHeight: 400,
    make: (protocol) => new Comparison(protocol),
  });
}
