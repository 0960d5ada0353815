// The server's side of live streams: web/PROTOCOL.md.

import { Server } from "../common/server.js";
import { refusal } from "./words.js";

export const EVENT = "dummy_forcing.stream";
const PREFIX = "/dummy_forcing/streams";

export class Protocol extends Server {
  constructor(api) {
    super(api, refusal);
  }

  /** The streams of a workflow, oldest first. */
  async list(workflowId) {
    return (await this.json(`${PREFIX}?workflow_id=${encodeURIComponent(workflowId)}`)).streams;
  }

  /** A chunk's bytes. */
  async chunk(state, index) {
    return (await this.ask(`${pathOf(state)}/chunks/${index}`)).arrayBuffer();
  }

  /** Another prompt from the next chunk on; gives the new state. */
  changePrompt(state, text) {
    return this.#post(`${pathOf(state)}/prompt`, { text });
  }

  /** End the video with the chunks that it has; gives the new state. */
  stop(state) {
    return this.#post(`${pathOf(state)}/stop`, {});
  }

  #post(path, body) {
    return this.json(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }
}

function pathOf(state) {
  return `${PREFIX}/${encodeURIComponent(state.prompt_id)}/${encodeURIComponent(state.id)}`;
}
