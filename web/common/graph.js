// ComfyUI's graph and its nodes.

/** The node of an execution id such as "5", or "12:5" in a subgraph; null if the graph has none. */
export function findNode(root, executionId) {
  let [graph, node] = [root, null];
  for (const part of String(executionId).split(":")) {
    node = graph?.getNodeById(Number(part)) ?? graph?.getNodeById(part) ?? null;
    graph = node?.subgraph;
  }
  return node;
}

/** The graph of the open workflow, of which subgraphs are parts. */
export function rootGraph(app) {
  return app.rootGraph ?? app.graph?.rootGraph ?? app.graph;
}

/** The node on this tab's canvas that something from the server belongs to, or null. */
export function nodeFor(app, { workflow_id, node_id }) {
  const root = rootGraph(app);
  return workflow_id && workflow_id === root?.id ? findNode(root, node_id) : null;
}

/** Put an element on a node, below its inputs; `gone` is called when the node is removed. */
export function addElement(app, node, name, element, leastHeight, gone) {
  const widget = node.addDOMWidget(name, name, element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => leastHeight,
  });
  widget.serialize = false;
  const removed = node.onRemoved;
  node.onRemoved = function (...args) {
    gone();
    return removed?.apply(this, args);
  };
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  forwardWheel(app, element);
  return widget;
}

/** On the classic canvas a widget lies above it, and the wheel would end there. */
function forwardWheel(app, element) {
  element.addEventListener("wheel", (event) => {
    if (!element.closest("[data-node-id]")) app.canvas.processMouseWheel(event);
  });
}
