// The choice of a map to compare with: earlier runs of the node, other nodes, saved profiles.

import { element } from "../common/dom.js";
import { word } from "../common/words.js";
import { readMap, sameShape } from "./map_data.js";
import { mapName } from "./words.js";

export class Comparison {
  /**
   * source: `beside(map)` as the store's, `title(map)` of a map's node, and the protocol's `saved()` and `savedMap(id)`.
   * changed: called when another map has been chosen, or none; `chosen` is that.
   */
  constructor(source, changed) {
    this.source = source;
    this.changed = changed;
    this.chosen = null;
    this.saved = []; // [{ id, name }]
    this.refused = new Map(); // ids of saved profiles that cannot be compared, and why
    this.element = element("select", { "aria-label": word("heads.compare") });
    this.notice = element("p", { class: "dummy-forcing-notice", role: "alert" });
    for (const type of ["pointerenter", "focus"]) this.element.addEventListener(type, () => this.findSaved());
    this.element.addEventListener("change", () => this.#choose(this.element.value));
  }

  /** Offer what there is for a map; a choice made before stays if it can. */
  offer(map) {
    this.map = map;
    this.#fill();
  }

  /** Ask for the saved profiles. */
  async findSaved() {
    try {
      this.saved = await this.source.saved();
    } catch {
      return; // what was offered before is still true as far as anyone knows
    }
    this.#fill();
  }

  get state() {
    return { chosen: this.chosen, saved: this.saved };
  }

  set state({ chosen, saved }) {
    this.chosen = chosen;
    this.saved = saved;
  }

  #fill() {
    const groups = this.#groups();
    const chosen = this.chosen?.id ?? "";
    const known = groups.some(([, maps]) => maps.some(({ id, why }) => id === chosen && !why));
    if (chosen && !known) return this.#take(null);
    const offered = JSON.stringify([chosen, groups]);
    if (offered === this.offered) return; // as it is: the list may be open
    this.offered = offered;
    const none = element("option", { value: "" }, word(chosen ? "heads.compare_no_more" : "heads.compare"));
    this.element.replaceChildren(none, ...groups.map(([label, maps]) => element("optgroup", { label }, ...maps.map(optionOf))));
    this.element.disabled = !groups.length;
    this.element.value = chosen;
    this.element.title = this.element.selectedOptions[0].textContent;
  }

  /** What can be chosen: [label, [{ id, name, why }]], with the reason where it cannot. */
  #groups() {
    const { runs, nodes } = this.source.beside(this.map);
    const entry = (map, name) => {
      const fits = !map.layers || sameShape(map, this.map);
      return { id: map.id, name, why: fits ? this.refused.get(map.id) : word("heads.other_shape", map) };
    };
    return [
      [word("heads.earlier_runs"), runs.map((map) => entry(map, mapName(map)))],
      [word("heads.other_nodes"), nodes.map((map) => entry(map, `${this.source.title(map)} · ${mapName(map)}`))],
      [word("heads.saved_profiles"), this.saved.map((file) => entry(file, file.name))],
    ].filter(([, maps]) => maps.length);
  }

  async #choose(id) {
    const { runs, nodes } = this.source.beside(this.map);
    const known = [...runs, ...nodes].find((each) => each.id === id);
    if (!id || known) return this.#take(known ?? null);
    try {
      const map = readMap(await this.source.savedMap(id));
      if (!sameShape(map, this.map)) throw new TypeError(word("heads.other_shape", map));
      if (this.element.value === id) this.#take({ ...map, id });
    } catch (error) {
      this.refused.set(id, error.message);
      if (this.element.value === id) this.#take(null, error.message);
    }
  }

  #take(map, notice = "") {
    this.chosen = map;
    this.notice.textContent = notice;
    this.#fill();
    this.changed();
  }
}

function optionOf({ id, name, why }) {
  const option = element("option", { value: id }, why ? `${name} (${why})` : name);
  option.disabled = Boolean(why);
  return option;
}
