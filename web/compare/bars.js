// What the runs have cost: for each figure a bar of a above one of b, with numbers and their ratio.

import { element } from "../common/dom.js";
import { word } from "../common/words.js";
import { costRows } from "./figures.js";

export class Bars {
  constructor() {
    this.element = element("div", { class: "dummy-forcing-costs", role: "group", "aria-label": word("compare.costs") });
  }

  /** costs: of the state; labels: of a and b. */
  show(costs, labels) {
    const rows = costRows(costs);
    this.element.hidden = !rows.length;
    this.element.replaceChildren(...rows.map((row) => costElement(row, labels)));
  }
}

function costElement({ name, bars, ratio }, labels) {
  const head = element(
    "div",
    { class: "dummy-forcing-head" },
    element("b", {}, word(`compare.cost.${name}`)),
    element("span", { class: "dummy-forcing-here" }, ratio),
  );
  const lines = bars.map((bar, index) => bar && barElement(bar, labels[index], index));
  return element("div", { class: "dummy-forcing-cost" }, head, ...lines.filter(Boolean));
}

function barElement({ share, text }, label, index) {
  const fill = element("i", { class: "dummy-forcing-bar-fill", "data-side": "ab"[index] });
  fill.style.width = `${100 * share}%`;
  const bar = element("div", { class: "dummy-forcing-bar-rest" }, fill);
  return element("div", { class: "dummy-forcing-bar-line", title: label }, element("span", { class: "dummy-forcing-of" }, label), bar, element("span", {}, text));
}
