// A player on every Stream AR Video node that has made something or does.

import { addElement, nodeFor, rootGraph } from "../common/graph.js";
import { Player } from "./player.js";
import { EVENT, Protocol } from "./protocol.js";
import { supersedes } from "./supersedes.js";

const NODE = "DummyForcingStreamVideo";
const WIDGET = "dummy_forcing_live";
const LEAST_HEIGHT = 300;

export function liveVideo(app, api) {
  const protocol = new Protocol(api);
  const players = new Map(); // by node
  const own = new Set(); // ids of prompts that this page has queued

  /** Fetch the state of the open workflow's streams: after a reload, a change of tabs, a lost connection. */
  async function refresh() {
    const workflow = rootGraph(app)?.id;
    if (!workflow) return;
    try {
      const found = await protocol.list(workflow);
      const ids = new Set(found.map(({ id }) => id));
      for (const player of players.values()) if (player.state && !ids.has(player.state.id)) player.lose();
      for (const state of found) show(state, true);
    } catch (error) {
      console.warn("Dummy Forcing: no live streams:", error.message);
    }
  }

  /** Show a stream on its node, if that is on this tab's canvas. */
  function show(state, live = false) {
    const node = nodeFor(app, state);
    if (node?.comfyClass !== NODE) return;
    const player = players.get(node) ?? addPlayer(node);
    if (supersedes(state, player.state, own)) player.update(state, live && state.status === "running");
  }

  function addPlayer(node) {
    const player = new Player(protocol);
    players.set(node, player);
    addElement(app, node, WIDGET, player.element, LEAST_HEIGHT, () => {
      players.delete(node);
      player.destroy();
    });
    return player;
  }

  return {
    name: "DummyForcing.Live",
    setup() {
      api.addEventListener(EVENT, ({ detail }) => show(detail));
      api.addEventListener("execution_start", ({ detail }) => own.add(detail.prompt_id)); // only the page that queued hears it
      api.addEventListener("reconnected", refresh);
    },
    afterConfigureGraph: refresh,
  };
}
