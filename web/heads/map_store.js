// The head maps that this page knows: those of the server, and those that it has forgotten meanwhile.

const MOST_OF_A_NODE = 4;
const MOST = 64;

export class MapStore {
  #maps = []; // in the order in which their nodes got them

  /** Keep a map, which several nodes may have got; the oldest of its node and then of all make room. */
  add(map) {
    const known = this.#maps.findIndex((each) => each.id === map.id && sameNode(each, map));
    if (known >= 0 && this.#maps[known].served >= map.served) return;
    if (known >= 0) this.#maps.splice(known, 1);
    this.#maps = [...this.#maps, map].sort((one, other) => one.served - other.served || one.made - other.made);
    const ofNode = this.#maps.filter((each) => sameNode(each, map));
    for (const old of ofNode.slice(0, -MOST_OF_A_NODE)) this.#maps.splice(this.#maps.indexOf(old), 1);
    this.#maps = this.#maps.slice(-MOST);
  }

  /** What each node of a workflow got last, the latest of them first. */
  newest(workflowId) {
    const found = new Map();
    for (const map of this.of(workflowId)) if (!found.has(map.node_id)) found.set(map.node_id, map);
    return [...found.values()];
  }

  /** Those of a workflow, newest first. */
  of(workflowId) {
    return this.#maps.filter((map) => map.workflow_id === workflowId).reverse();
  }

  /** What a map can be compared with, newest first: earlier runs of its node, and maps of other nodes. */
  beside(map) {
    const others = this.of(map.workflow_id).filter(({ id }) => id !== map.id);
    return { runs: others.filter((each) => sameNode(each, map)), nodes: others.filter((each) => !sameNode(each, map)) };
  }
}

const sameNode = (one, other) => one.workflow_id === other.workflow_id && one.node_id === other.node_id;
