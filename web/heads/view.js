// The map's elements. Texts go in as text, never as markup: names of profiles come from anywhere.

import { element, keepFromCanvas, loadStyles } from "../common/dom.js";
import { word } from "../common/words.js";
import { LABELS } from "./roles.js";
import { roleName } from "./words.js";

let made = 0; // ids have to be unique on the page

/** Elements by name; `root` holds them all. parts: the elements of readout, menu and comparison. */
export function buildView({ readout, menu, comparison, notice }) {
  loadStyles(new URL("./head_map.css", import.meta.url));
  const view = {
    name: element("p", { class: "dummy-forcing-name" }),
    canvas: element("canvas", { "aria-hidden": "true" }),
    cell: element("span", { role: "gridcell", id: `dummy-forcing-cell-${++made}` }),
    legend: LABELS.map((_, role) => legendOf(role)),
    scale: element("span", { class: "dummy-forcing-scale", hidden: "" }),
    clear: element("button", { type: "button" }),
    curve: element("canvas", { class: "dummy-forcing-under", "aria-hidden": "true" }),
    ratio: element("input", { class: "dummy-forcing-over", type: "range", min: 0, max: 1, step: 0.01, "aria-label": word("heads.ratio") }),
    percent: element("output", {}),
    dummies: element("small", {}),
    figures: element("dl", { class: "dummy-forcing-figures" }),
    problem: element("p", { class: "dummy-forcing-notice", role: "alert" }),
  };
  const row = element("span", { role: "row" }, view.cell);
  view.map = element(
    "div",
    { class: "dummy-forcing-map", role: "grid", tabindex: 0, "aria-label": word("heads.map"), "aria-description": word("heads.keys") },
    view.canvas,
    element("span", { class: "dummy-forcing-unseen" }, row),
  );
  view.root = element(
    "section",
    { class: "dummy-forcing-part dummy-forcing-heads", "aria-label": word("heads.map") },
    element("div", { class: "dummy-forcing-top" }, view.name, comparison),
    notice,
    element("div", { class: "dummy-forcing-map-stage" }, view.map, view.clear),
    element("div", { class: "dummy-forcing-legend" }, ...view.legend.map(({ entry }) => entry), view.scale),
    readout,
    element(
      "div",
      { class: "dummy-forcing-ratio" },
      element("p", {}, word("heads.ratio"), view.dummies),
      element("div", { class: "dummy-forcing-slide" }, view.curve, view.ratio),
      view.percent,
    ),
    view.figures,
    view.problem,
    menu,
  );
  keepFromCanvas(view.root, "button, input, select, [role=grid], [role=menu]");
  return view;
}

/** Put numbers in their places; [name, value, explanation] each. */
export function showFigures(list, figures) {
  list.replaceChildren(
    ...figures.map(([name, value, title]) => element("div", title ? { title } : {}, element("dd", {}, value), element("dt", {}, name))),
  );
}

function legendOf(role) {
  const [swatch, count] = [element("i", {}), element("span", {})];
  return { swatch, count, entry: element("span", {}, swatch, roleName(role), " ", count) };
}
