// The player's elements. Texts go in as text, never as markup: prompts come from anywhere.

import { element, keepFromCanvas, loadStyles } from "../common/dom.js";
import { word } from "../common/words.js";
import { drawMarks } from "./marks.js";

const ICONS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z",
  live: "M2.5 3v10l6-5zM8.5 3v10l5-5z",
  stop: "M3 3h10v10H3z",
};
const NAMES = { play: "live.play", pause: "live.pause", live: "live.go_live", stop: "live.stop" };
const SVG = "http://www.w3.org/2000/svg";

/** Elements by name; `root` holds them all. */
export function buildView() {
  loadStyles(new URL("./player.css", import.meta.url));
  const view = {
    canvas: element("canvas", { role: "img", "aria-label": word("live.picture") }),
    empty: element("p", { class: "dummy-forcing-empty" }),
    play: button("play"),
    live: button("live"),
    stop: button("stop"),
    time: element("span", { class: "dummy-forcing-time" }),
    scrub: element("input", { class: "dummy-forcing-over", type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": word("live.position") }),
    marks: element("canvas", { class: "dummy-forcing-under", "aria-hidden": "true" }),
    status: element("span", { class: "dummy-forcing-status", role: "status" }),
    numbers: element("span", { class: "dummy-forcing-numbers" }),
    prompt: element("p", { class: "dummy-forcing-prompt", "aria-label": word("live.prompt_here") }),
    text: element("input", {
      type: "text",
      maxlength: 4000,
      placeholder: word("live.another_prompt_from_next_chunk"),
      "aria-label": word("live.another_prompt"),
    }),
    send: element("button", { type: "submit" }, word("live.change_prompt")),
    asked: element("p", { class: "dummy-forcing-asked", role: "status" }),
    why: element("p", { class: "dummy-forcing-why" }),
    notice: element("p", { class: "dummy-forcing-notice", role: "alert" }),
  };
  view.frame = element("div", { class: "dummy-forcing-frame" }, view.canvas, view.empty);
  view.form = element("form", { class: "dummy-forcing-form" }, view.text, view.send);
  view.root = element(
    "section",
    { class: "dummy-forcing-part dummy-forcing-live", "aria-label": word("live.player") },
    view.frame,
    element("div", { class: "dummy-forcing-track" }, view.marks, view.scrub),
    element("div", { class: "dummy-forcing-bar" }, view.play, view.live, view.time, view.status, view.stop),
    view.numbers,
    view.prompt,
    view.form,
    view.asked,
    view.why,
    view.notice,
  );
  view.drawMarks = (timeline, state, shown) => drawMarks(view.marks, timeline, state, shown);
  keepFromCanvas(view.root);
  return view;
}

function button(icon) {
  const path = document.createElementNS(SVG, "path");
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  const made = element("button", { type: "button", "data-icon": icon }, svg);
  made.setIcon = (name) => {
    path.setAttribute("d", ICONS[name]);
    made.title = word(NAMES[name]);
    made.setAttribute("aria-label", made.title);
  };
  made.setIcon(icon);
  return made;
}
