// The player of a comparison: Player, whose picture is wiped, with curves and bars below it.

import { keepFromCanvas, loadStyles } from "../common/dom.js";
import { word } from "../common/words.js";
import { Player } from "../live/player.js";
import { Bars } from "./bars.js";
import { CurveView } from "./curve_view.js";
import { psnrRange, ssimRange } from "./curve.js";
import { frameTime, noteText, psnrText, ssimText } from "./figures.js";
import { WipePicture } from "./picture.js";
import { buildView } from "./view.js";

export class Comparison {
  constructor(protocol) {
    loadStyles(new URL("./compare.css", import.meta.url));
    this.picture = new WipePicture();
    this.player = new Player(protocol, (canvas, frame) => this.picture.paint(canvas, frame));
    this.element = this.player.element;
    const goTo = (frame) => this.player.goTo(frame);
    this.psnr = new CurveView("PSNR", psnrText, psnrRange, goTo);
    this.ssim = new CurveView("SSIM", ssimText, ssimRange, goTo);
    this.bars = new Bars();
    this.view = buildView(this.player.view, [this.psnr.element, this.ssim.element, this.bars.element]);
    keepFromCanvas(this.element, "svg");
    this.listen();
    this.moveWipe(50);
  }

  get state() {
    return this.player.state;
  }

  /** Take news of the stream, or another one; that begins with its first frame. */
  update(state) {
    if (state.id !== this.state?.id) this.picture.forget();
    this.player.update(state);
    this.describe();
  }

  lose() {
    this.player.lose();
  }

  destroy() {
    this.player.destroy();
  }

  listen() {
    const { wipe, difference, worst } = this.view;
    wipe.addEventListener("input", () => this.moveWipe(Number(wipe.value)));
    wipe.addEventListener("dblclick", () => this.moveWipe(50));
    wipe.addEventListener("keydown", (event) => this.stepWipe(event));
    difference.addEventListener("click", () => this.showDifference(!this.picture.difference));
    worst.addEventListener("click", () => this.player.goTo(this.state.comparison.worst.frame));
    this.element.addEventListener("frameshown", () => this.follow());
  }

  /** The slider is fine enough for a drag, so that one of its own steps is too small for a key. */
  stepWipe(event) {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.moveWipe(Number(this.view.wipe.value) + step * (event.shiftKey ? 10 : 1));
  }

  /** percent: of the width that is a's. */
  moveWipe(percent) {
    const { wipe, stage } = this.view;
    wipe.value = percent;
    stage.style.setProperty("--wipe", `${wipe.value}%`);
    this.picture.wipeTo(wipe.value / 100);
    this.describeWipe();
  }

  showDifference(difference) {
    this.picture.showDifference(difference);
    this.view.difference.setAttribute("aria-pressed", difference);
    this.view.stage.hidden = difference;
  }

  describe() {
    const { state } = this;
    const { comparison: found } = state;
    this.view.stage.style.setProperty("--ratio", state.width / state.height);
    this.view.below.hidden = this.view.worst.hidden = !found;
    if (!found) return;
    const [a, b] = found.labels;
    this.view.describe(a, b);
    this.describeWipe();
    const frames = Math.max(found.frames, (state.status === "running" && state.frames) || 0);
    this.psnr.show(found.psnr_curve, found, frames, word("compare.of_all", { value: psnrText(found.psnr) }));
    this.ssim.show(found.ssim_curve, found, frames, word("compare.mean", { value: ssimText(found.ssim) }));
    const time = frameTime(found.worst.frame, state.frame_rate);
    this.view.worst.textContent = word("compare.worst", { value: ssimText(found.worst.ssim), time });
    this.view.worst.disabled = found.worst.frame < this.player.timeline.firstFrame;
    this.bars.show(found.costs, found.labels);
    this.view.notes.textContent = found.notes.map(noteText).join(" · ");
    this.view.notes.hidden = !found.notes.length;
    this.follow();
  }

  describeWipe() {
    const labels = this.state?.comparison?.labels;
    if (labels) this.view.wipe.setAttribute("aria-valuetext", word("compare.wipe_at", { percent: Math.round(this.view.wipe.value), a: labels[0] }));
  }

  /** Bring the curves to the frame on the screen. */
  follow() {
    if (!this.state?.comparison) return;
    for (const curve of [this.psnr, this.ssim]) curve.moveTo(Math.max(0, this.player.shown), this.state.frame_rate);
  }
}
