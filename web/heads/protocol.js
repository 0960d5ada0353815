// The server's side of head maps: web/PROTOCOL.md.

import { Server } from "../common/server.js";

export const EVENT = "dummy_forcing.head_map";
const PREFIX = "/dummy_forcing/head_maps";

export class Protocol extends Server {
  /** The maps of a workflow, oldest first. */
  async list(workflowId) {
    return (await this.json(`${PREFIX}?workflow_id=${encodeURIComponent(workflowId)}`)).maps;
  }

  /** Files of profiles: [{ id, name }]. */
  async saved() {
    return (await this.json(`${PREFIX}/saved`)).saved;
  }

  /** The map of a file. */
  savedMap(id) {
    return this.json(`${PREFIX}/saved/${encodeURIComponent(id)}`);
  }
}
