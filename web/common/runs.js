// When a run is over, and what its nodes have made or ComfyUI has served from its cache.

const ENDS = ["execution_success", "execution_error", "execution_interrupted"];

/**
 * Call `act` when a prompt of this page has ended. What ComfyUI took from its cache nobody tells of; the server knows it
 * once the prompt has left its queue, which it says in its status.
 */
export function afterRun(api, act) {
  for (const type of ENDS) api.addEventListener(type, () => api.addEventListener("status", act, { once: true }));
}
