// What to do about a run that failed, where ComfyUI does not say it: since 0.33 its note is the same for all errors.

import { element } from "../common/dom.js";
import { findNode, rootGraph } from "../common/graph.js";

const OURS = "dummy_forcing.DummyForcingError"; // see core/errors.py
const NOTE = "[data-testid='error-overlay-messages']"; // ComfyUI's
const STYLE = "margin: 0 2rem 0 1.5rem; font-size: 0.875rem; color: var(--base-foreground, inherit); overflow-wrap: anywhere";
const SHOWN_MS = 500; // until ComfyUI has shown what it shows

/** The message of one of our errors in ComfyUI's note, or else in a toast, until the next run; none where the page has it. */
export function toldErrors(app, api) {
  let forget = () => {};

  function tell({ detail }) {
    if (detail?.exception_type !== OURS) return;
    const message = detail.exception_message.trim();
    setTimeout(() => {
      if (document.body.innerText.includes(message)) return;
      const note = document.querySelector(NOTE);
      forget = note ? addToNote(note, message) : showToast(message, detail);
    }, SHOWN_MS);
  }

  function addToNote(note, message) {
    const line = element("p", { style: STYLE }, message);
    note.after(line);
    return () => line.remove();
  }

  function showToast(message, { node_id, node_type }) {
    const { toast } = app.extensionManager;
    const told = { severity: "error", summary: findNode(rootGraph(app), node_id)?.title ?? node_type, detail: message };
    toast.add(told);
    return () => toast.remove(told);
  }

  return {
    name: "DummyForcing.Errors",
    setup() {
      api.addEventListener("execution_error", tell);
      api.addEventListener("execution_start", () => forget());
    },
  };
}
