// ComfyUI's graph and its nodes.

const LAID_OUT_MS = 1000;
let added = 0; // elements

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
  // A type of its own: Nodes 2.0 takes one that it knows on a node made anew, by an undo, for the one that is there.
  const widget = node.addDOMWidget(name, `${name}_${++added}`, element, {
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
  const bare = [...node.size];
  const [width, height] = node.computeSize();
  node.setSize([Math.max(bare[0], width), Math.max(bare[1], height)]);
  saveSize(node, bare);
  forwardWheel(app, element);
  return widget;
}

/**
 * That a node has grown for an element is no change of the workflow, which has to be undone before others can be: the
 * size from before is what is saved, unless somebody gives the node another one.
 */
function saveSize(node, bare) {
  let grown = null; // known when the renderer has laid out the node
  setTimeout(() => (grown = [...node.size]), LAID_OUT_MS);
  const serialise = node.onSerialize;
  node.onSerialize = function (data) {
    serialise?.call(this, data);
    if (!grown || grown.every((side, axis) => side === node.size[axis])) data.size = [...bare];
  };
}

/** On the classic canvas a widget lies above it, and the wheel would end there. */
function forwardWheel(app, element) {
  element.addEventListener("wheel", (event) => {
    if (!element.closest("[data-node-id]")) app.canvas.processMouseWheel(event);
  });
}
