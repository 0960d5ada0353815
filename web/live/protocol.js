// The server's side of live streams: web/PROTOCOL.md.

import { word } from "../common/words.js";
import { refusal } from "./words.js";

export const EVENT = "dummy_forcing.stream";
const PREFIX = "/dummy_forcing/streams";

export class Protocol {
  /** api: ComfyUI's, with `fetchApi`. */
  constructor(api) {
    this.api = api;
  }

  /** The streams of a workflow, oldest first. */
  async list(workflowId) {
    return (await this.#json(`${PREFIX}?workflow_id=${encodeURIComponent(workflowId)}`)).streams;
  }

  /** A chunk's bytes. */
  async chunk(state, index) {
    return (await this.#ask(`${pathOf(state)}/chunks/${index}`)).arrayBuffer();
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
    return this.#json(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  async #json(path, options) {
    return (await this.#ask(path, options)).json();
  }

  async #ask(path, options) {
    const response = await this.api.fetchApi(path, options);
    if (response.ok) return response;
    const { code, error } = await response.json().catch(() => ({}));
    throw new Error(code ? refusal(code) : (error ?? word("live.no_answer", { status: response.status })));
  }
}

function pathOf(state) {
  return `${PREFIX}/${encodeURIComponent(state.prompt_id)}/${encodeURIComponent(state.id)}`;
}
