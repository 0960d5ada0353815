// A head map on every node whose heads have been measured.

import { addElement, nodeFor, rootGraph } from "../common/graph.js";
import { afterRun } from "../common/runs.js";
import { HeadMap } from "./head_map.js";
import { readMap } from "./map_data.js";
import { MapStore } from "./map_store.js";
import { EVENT, Protocol } from "./protocol.js";

const NODES = ["DummyForcingProfileHeads", "DummyForcingPatch"];
const WIDGET = "dummy_forcing_heads";
const LEAST_HEIGHT = 500;

export function headMap(app, api) {
  const protocol = new Protocol(api);
  const store = new MapStore();
  const refused = new Set(); // ids of maps that make no sense: said once
  const views = new Map(); // by node
  const states = new Map(); // of views whose nodes are gone, by workflow and node id

  /** Show what is known of the open workflow, then what the server knows besides: after a reload, an undo, a run. */
  async function refresh() {
    const workflow = rootGraph(app)?.id;
    if (!workflow) return;
    showAll();
    try {
      for (const raw of await protocol.list(workflow)) keep(raw);
      showAll();
    } catch (error) {
      console.warn("Dummy Forcing: no head maps:", error.message);
    }
  }

  /** Keep a map of the server's, unless it makes no sense. */
  function keep(raw) {
    try {
      store.add(readMap(raw));
    } catch (error) {
      if (!refused.has(raw?.id)) console.warn("Dummy Forcing:", error.message);
      refused.add(raw?.id);
    }
  }

  /** Show on the nodes of the open workflow what they got last. */
  function showAll() {
    const done = new Set([null]); // several ids lead to a node of a subgraph that is used several times
    for (const map of store.newest(rootGraph(app)?.id)) {
      const node = nodeFor(app, map);
      if (!done.has(node)) show(node, map);
      done.add(node);
    }
    for (const view of views.values()) view.offer();
  }

  function show(node, map) {
    if (!NODES.includes(node.comfyClass)) return;
    const view = views.get(node) ?? addView(node, map);
    if (view.map?.id !== map.id) view.update(map);
  }

  function addView(node, map) {
    const view = new HeadMap(app, node, {
      beside: (map) => store.beside(map),
      title: (map) => nodeFor(app, map)?.title ?? map.node_id,
      saved: () => protocol.saved(),
      savedMap: (id) => protocol.savedMap(id),
    });
    const key = `${map.workflow_id}/${map.node_id}`;
    if (states.has(key)) view.state = states.get(key);
    views.set(node, view);
    addElement(app, node, WIDGET, view.element, LEAST_HEIGHT, () => {
      states.set(key, view.state);
      views.delete(node);
      view.destroy();
    });
    return view;
  }

  return {
    name: "DummyForcing.Heads",
    setup() {
      api.addEventListener(EVENT, ({ detail }) => {
        keep(detail);
        showAll();
      });
      api.addEventListener("reconnected", refresh);
      afterRun(api, refresh);
    },
    afterConfigureGraph: refresh,
  };
}
