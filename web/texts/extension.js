// What a node says of its result, on every node that got it: ComfyUI itself shows it only where the node has run.

import { nodeFor, rootGraph } from "../common/graph.js";
import { afterRun } from "../common/runs.js";
import { Server } from "../common/server.js";

const PATH = "/dummy_forcing/texts";

export function resultTexts(app, api) {
  const server = new Server(api);

  async function refresh() {
    const workflow = rootGraph(app)?.id;
    if (!workflow) return;
    try {
      const { texts } = await server.json(`${PATH}?workflow_id=${encodeURIComponent(workflow)}`);
      for (const { node_id, text } of texts) show(nodeFor(app, { workflow_id: workflow, node_id }), node_id, text);
    } catch (error) {
      console.warn("Dummy Forcing: no texts on nodes:", error.message);
    }
  }

  /** As if the node had run: ComfyUI's own widget takes the text. It knows the nodes of the graph that is open only. */
  function show(node, nodeId, text) {
    if (node && node.graph === app.canvas.graph) api.dispatchCustomEvent("progress_text", { nodeId, text });
  }

  return {
    name: "DummyForcing.Texts",
    setup() {
      afterRun(api, refresh);
    },
  };
}
