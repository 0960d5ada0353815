// Asking ComfyUI's server; what it refuses is an error in the reader's language, where the answer has a code for it.

import { word } from "./words.js";

export class Server {
  /** api: ComfyUI's, with `fetchApi`; refusal: (code) => what is said of it. */
  constructor(api, refusal = (code) => code) {
    this.api = api;
    this.refusal = refusal;
  }

  async json(path, options) {
    return (await this.ask(path, options)).json();
  }

  async ask(path, options) {
    const response = await this.api.fetchApi(path, options);
    if (response.ok) return response;
    const { code, error } = await response.json().catch(() => ({}));
    throw new Error(code ? this.refusal(code) : (error ?? word("server.no_answer", { status: response.status })));
  }
}
