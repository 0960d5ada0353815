// What one head attends to: three masses as bars; in a comparison, of both maps.

import { element } from "../common/dom.js";
import { word } from "../common/words.js";
import { css } from "./colours.js";
import { BINS, binName, headName, percent, standing } from "./words.js";

export class Readout {
  constructor() {
    this.name = element("strong", {});
    this.role = element("span", {});
    this.bars = BINS.map(barOf);
    this.hint = element("p", { class: "dummy-forcing-hint" }, word("heads.hint"));
    this.head = element("div", { class: "dummy-forcing-readout-head" }, element("p", {}, this.name, " · ", this.role), ...this.bars.map(({ row }) => row));
    this.element = element("div", { class: "dummy-forcing-readout" }, this.hint, this.head);
    this.clear();
  }

  clear() {
    this.head.hidden = true;
    this.hint.hidden = false;
  }

  /** about: { role, otherwise, there } as `standing` takes it; other: the map compared with, or null. */
  show(map, at, about, other, theme) {
    this.head.hidden = false;
    this.hint.hidden = true;
    this.name.textContent = headName(map, at);
    this.role.textContent = this.role.parentElement.title = standing(about);
    for (const [bin, bar] of this.bars.entries()) {
      const [here, there] = [map, other].map((each) => each?.masses[3 * at + bin]);
      bar.here.style.cssText = `width: ${100 * here}%; background: ${css(theme.roles[bin])}`;
      bar.there.style.cssText = other ? `width: ${100 * there}%` : "width: 0";
      bar.row.dataset.used = about.role === bin || bin === 2;
      bar.number.textContent = other ? `${percent(here)} / ${percent(there)}` : percent(here);
    }
  }
}

/** The same in words, for those who hear it. */
export function spoken(map, at, about) {
  const masses = BINS.map((bin, index) => `${binName(bin)} ${percent(map.masses[3 * at + index])}`);
  return [headName(map, at), standing(about), ...masses].join(", ");
}

function barOf(bin) {
  const parts = { here: element("i", {}), there: element("i", { class: "dummy-forcing-there" }), number: element("span", {}) };
  const track = element("span", { class: "dummy-forcing-mass" }, parts.here, parts.there);
  return { ...parts, row: element("div", { class: "dummy-forcing-bin" }, element("span", {}, binName(bin)), track, parts.number) };
}
