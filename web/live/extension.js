// A player on every Stream AR Video node that has made something or does.

import { Player } from "./player.js";
import { streamPlayers } from "./players.js";

export function liveVideo(app, api) {
  return streamPlayers(app, api, {
    name: "DummyForcing.Live",
    node: "DummyForcingStreamVideo",
    widget: "dummy_forcing_live",
    leastHeight: 300,
    make: (protocol) => new Player(protocol),
  });
}
