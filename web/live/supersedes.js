// Of two streams of one node, the one to show.

/**
 * Whether `state` takes the place of `shown` on a node: news of the same stream, or one that the node got later; but not somebody
 * else's while one of this page's own runs. `own`: ids of the prompts that this page has queued.
 */
export function supersedes(state, shown, own = new Set()) {
  if (!shown) return true;
  if (state.id === shown.id) return state.revision > shown.revision || state.served > shown.served;
  if (shown.status === "running" && own.has(shown.prompt_id) && !own.has(state.prompt_id)) return false;
  return state.served > shown.served;
}
