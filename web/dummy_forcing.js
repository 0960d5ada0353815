// Dummy Forcing in ComfyUI's frontend: a player on every Stream AR Video node that has made something or does.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { findNode, supersedes } from "./live/nodes.js";
import { Player } from "./live/player.js";
import { EVENT, Protocol } from "./live/protocol.js";

const NODE = "DummyForcingStreamVideo";
const WIDGET = "dummy_forcing_live";
const LEAST_HEIGHT = 300;

const protocol = new Protocol(api);
const players = new Map(); // by node
const own = new Set(); // ids of prompts that this page has queued

app.registerExtension({
  name: "DummyForcing.Live",
  setup() {
    api.addEventListener(EVENT, ({ detail }) => show(detail));
    api.addEventListener("execution_start", ({ detail }) => own.add(detail.prompt_id)); // only the page that queued hears it
    api.addEventListener("reconnected", refresh);
  },
  afterConfigureGraph: refresh,
});

/** Fetch the state of the open workflow's streams: after a reload, a change of tabs, a lost connection. */
async function refresh() {
  const workflow = rootGraph()?.id;
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
  const root = rootGraph();
  if (!state.workflow_id || state.workflow_id !== root?.id) return;
  const node = findNode(root, state.node_id);
  if (node?.comfyClass !== NODE) return;
  const player = players.get(node) ?? addPlayer(node);
  if (supersedes(state, player.state, own)) player.update(state, live && state.status === "running");
}

function addPlayer(node) {
  const player = new Player(protocol);
  players.set(node, player);
  const widget = node.addDOMWidget(WIDGET, WIDGET, player.element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => LEAST_HEIGHT,
  });
  widget.serialize = false;
  const removed = node.onRemoved;
  node.onRemoved = function (...args) {
    players.delete(node);
    player.destroy();
    return removed?.apply(this, args);
  };
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  forwardWheel(player.element);
  return player;
}

/** On the classic canvas a widget lies above it, and the wheel would end there. */
function forwardWheel(element) {
  element.addEventListener("wheel", (event) => {
    if (!element.closest("[data-node-id]")) app.canvas.processMouseWheel(event);
  });
}

function rootGraph() {
  return app.rootGraph ?? app.graph?.rootGraph ?? app.graph;
}
