// The server's side of head maps: web/PROTOCOL.md.

import { word } from "../common/words.js";

export const EVENT = "dummy_forcing.head_map";
const PREFIX = "/dummy_forcing/head_maps";

export class Protocol {
  /** api: ComfyUI's, with `fetchApi`. */
  constructor(api) {
    this.api = api;
  }

  /** The maps of a workflow, oldest first. */
  async list(workflowId) {
    return (await this.#json(`${PREFIX}?workflow_id=${encodeURIComponent(workflowId)}`)).maps;
  }

  /** Files of profiles: [{ id, name }]. */
  async saved() {
    return (await this.#json(`${PREFIX}/saved`)).saved;
  }

  /** The map of a file. */
  savedMap(id) {
    return this.#json(`${PREFIX}/saved/${encodeURIComponent(id)}`);
  }

  async #json(path) {
    const response = await this.api.fetchApi(path);
    if (response.ok) return response.json();
    const { error } = await response.json().catch(() => ({}));
    throw new Error(error ?? word("heads.no_answer", { status: response.status }));
  }
}
