// What a comparison adds to the elements of a player.

import { element } from "../common/dom.js";
import { word } from "../common/words.js";
import { AMPLIFIED } from "./picture.js";

/** player: elements of the player by name; below: what goes under its buttons. */
export function buildView(player, below) {
  const difference = word("compare.difference", { times: AMPLIFIED });
  const view = {
    labels: [0, 1].map(() => element("span", { class: "dummy-forcing-label" })),
    wipe: element("input", { class: "dummy-forcing-over dummy-forcing-wipe", type: "range", min: 0, max: 100, step: 0.1 }),
    difference: element("button", { type: "button", title: difference, "aria-label": difference, "aria-pressed": "false" }, "|a−b|"),
    worst: element("button", { type: "button", class: "dummy-forcing-worst", title: word("compare.go_to_worst") }),
    notes: element("p", { class: "dummy-forcing-notes" }),
  };
  const line = element("div", { class: "dummy-forcing-wipe-line", "aria-hidden": "true" }, element("span", {}));
  view.stage = element("div", { class: "dummy-forcing-stage" }, ...view.labels, view.wipe, line);
  view.below = element("div", { class: "dummy-forcing-below" }, ...below, view.notes);
  view.describe = (a, b) => {
    view.labels[0].textContent = view.labels[0].title = a;
    view.labels[1].textContent = view.labels[1].title = b;
    view.wipe.setAttribute("aria-label", word("compare.wipe", { a, b }));
    player.canvas.setAttribute("aria-label", word("compare.picture", { a, b }));
  };
  player.root.classList.add("dummy-forcing-compare");
  player.root.setAttribute("aria-label", word("compare.player"));
  player.frame.append(view.stage);
  player.time.after(view.difference, view.worst);
  player.status.parentElement.after(view.below);
  return view;
}
