// A player on every Stream AR Video node that has made something or does.

import { Player } from "./player.js";
import { streamPlayers } from "./players.js";

export function liveVideo(app, api) {
  const place = { node: "DummyForcingStreamVideo", widget: "dummy_forcing_live", leastHeight: 300 };
  return streamPlayers(app, api, { name: "DummyForcing.Live", ...place, Part: Player });
}
