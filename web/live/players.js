// Players on the nodes of one kind: each shows the stream that its node got last, also after a reload.

import { addElement, nodeFor, rootGraph } from "../common/graph.js";
import { afterRun } from "../common/runs.js";
import { EVENT, Protocol } from "./protocol.js";
import { supersedes } from "./supersedes.js";

/**
 * An extension of the frontend.
 *
 * name: of the extension; node: the kind's id; widget: name of what is put on a node, leastHeight: its pixels;
 * Part: class of what is put there, made of the protocol, Player or what looks like it: `element`, `state`, `update`, `lose`, `destroy`.
 */
export function streamPlayers(app, api, { name, node: kind, widget, leastHeight, Part }) {
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
      const last = new Map(found.map((state) => [state.node_id, state])); // of each node
      for (const state of last.values()) show(state, true);
    } catch (error) {
      console.warn("Dummy Forcing: no live streams:", error.message);
    }
  }

  /** Show a stream on its node, if that is on this tab's canvas. */
  function show(state, live = false) {
    const node = nodeFor(app, state);
    if (node?.comfyClass !== kind) return;
    const player = players.get(node) ?? addPlayer(node);
    if (supersedes(state, player.state, own)) player.update(state, live && state.status === "running");
  }

  function addPlayer(node) {
    const player = new Part(protocol);
    players.set(node, player);
    addElement(app, node, widget, player.element, leastHeight, () => {
      players.delete(node);
      player.destroy();
    });
    return player;
  }

  return {
    name,
    setup() {
      api.addEventListener(EVENT, ({ detail }) => show(detail));
      api.addEventListener("execution_start", ({ detail }) => own.add(detail.prompt_id)); // only the page that queued hears it
      api.addEventListener("reconnected", refresh);
      afterRun(api, refresh);
    },
    afterConfigureGraph: refresh,
  };
}
