// A curve on the page: the value of the frame on the screen beside its name; a click on it goes there.

import { element } from "../common/dom.js";
import { word } from "../common/words.js";
import { curvePoints, frameAt, pathOf } from "./curve.js";
import { frameTime } from "./figures.js";

const SVG = "http://www.w3.org/2000/svg";

export class CurveView {
  /** text: (value) => how it is written; range: (values) => from where to where; goTo: (frame) => shows it. */
  constructor(name, text, range, goTo) {
    this.name = name;
    this.text = text;
    this.range = range;
    this.values = [];
    this.build();
    this.plot.addEventListener("click", (event) => goTo(this.frameUnder(event)));
    this.plot.addEventListener("pointermove", (event) => this.point(this.frameUnder(event)));
    this.plot.addEventListener("pointerleave", () => this.point(null));
  }

  build() {
    this.area = svg("path", { class: "dummy-forcing-area" });
    this.line = svg("path", { class: "dummy-forcing-curve-line" });
    this.plot = svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" }, this.area, this.line);
    this.all = element("span", { class: "dummy-forcing-faint" });
    this.here = element("span", { class: "dummy-forcing-here" });
    this.high = element("span", { class: "dummy-forcing-high", "aria-hidden": "true" });
    this.low = element("span", { class: "dummy-forcing-low", "aria-hidden": "true" });
    this.playhead = element("i", { class: "dummy-forcing-playhead" });
    this.pointer = element("i", { class: "dummy-forcing-pointer" });
    const plot = element("div", { class: "dummy-forcing-plot" }, this.plot, this.playhead, this.pointer, this.high, this.low);
    const head = element("div", { class: "dummy-forcing-head" }, element("b", {}, this.name), this.all, this.here);
    this.element = element("div", { class: "dummy-forcing-curve" }, head, plot);
    this.pointer.hidden = true;
  }

  /** values: of the comparison `found`; frames: the length of the axis; all: what is said of all frames. */
  show(values, found, frames, all) {
    Object.assign(this, { values, pointFrames: found.point_frames, compared: found.frames, frames });
    const range = this.range(values);
    const points = curvePoints(values, range, found.point_frames, found.frames, frames);
    this.line.setAttribute("d", pathOf(points));
    this.area.setAttribute("d", pathOf(points, true));
    [this.low.textContent, this.high.textContent] = range;
    this.all.textContent = all;
    this.plot.setAttribute("aria-label", word("compare.curve", { name: this.name, all }));
    this.element.title = found.point_frames > 1 ? word("compare.lowest", { frames: found.point_frames }) : "";
  }

  /** Go with the player: `frame` is on the screen. */
  moveTo(frame, frameRate) {
    this.frame = frame;
    this.frameRate = frameRate;
    this.playhead.style.left = this.#place(frame);
    if (this.pointer.hidden) this.#say(frame);
  }

  /** What is under the pointer, null when it has gone. */
  point(frame) {
    this.pointer.hidden = frame === null;
    if (frame !== null) this.pointer.style.left = this.#place(frame);
    this.#say(frame ?? this.frame);
  }

  frameUnder(event) {
    const { left, width } = this.plot.getBoundingClientRect();
    return frameAt((event.clientX - left) / width, this.compared, this.frames);
  }

  #place(frame) {
    return `${(100 * (frame + 0.5)) / this.frames}%`;
  }

  #say(frame) {
    const value = this.values[Math.floor(frame / this.pointFrames)];
    if (value === undefined) return;
    const time = frameTime(frame, this.frameRate);
    this.here.textContent = word("compare.at", { value: this.text(value), time });
  }
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
