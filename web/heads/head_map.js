// The map on a node: its picture, the slider and what can be done with heads. What it sets are the node's widgets.

import { word } from "../common/words.js";
import { css, themeOf } from "./colours.js";
import { Comparison } from "./comparison.js";
import { difference } from "./difference.js";
import { changeCells, drawMap, roleCells } from "./drawing.js";
import { formatForced, withForced } from "./forced_roles.js";
import { Grid } from "./grid.js";
import { sameShape } from "./map_data.js";
import { NodeSettings } from "./node_settings.js";
import { predict, roleOtherwise } from "./prediction.js";
import { retainedCurve } from "./programming.js";
import { drawCurve } from "./ratio_curve.js";
import { Readout, spoken } from "./readout.js";
import { KEYS, RoleMenu } from "./role_menu.js";
import { DUMMY } from "./roles.js";
import { buildView, showFigures } from "./view.js";
import { differenceFigures, figures, mapName, percent } from "./words.js";

export class HeadMap {
  /** source: what `Comparison` takes. */
  constructor(app, node, source) {
    this.settings = new NodeSettings(app, node, () => this.describe());
    this.readout = new Readout();
    this.menu = new RoleMenu((role) => this.force(this.focused, role));
    this.comparison = new Comparison(source, () => this.describe());
    this.view = buildView({
      readout: this.readout.element,
      menu: this.menu.element,
      comparison: this.comparison.element,
      notice: this.comparison.notice,
    });
    this.element = this.view.root;
    this.map = null;
    this.hovered = null; // the head under the pointer
    this.focused = null; // the head that keys act on
    this.inUse = false; // whether keys act on the map
    this.listen();
    this.resizes = new ResizeObserver(() => this.resize());
    this.resizes.observe(this.view.map);
  }

  /** Take another map of the node. */
  update(map) {
    if (this.map && !sameShape(this.map, map)) this.hovered = this.focused = null;
    this.map = map;
    this.view.map.setAttribute("aria-rowcount", map.layers);
    this.view.map.setAttribute("aria-colcount", map.heads);
    this.offer();
    this.comparison.findSaved();
    this.describe();
  }

  /** There may be other maps to compare with. */
  offer() {
    this.comparison.offer(this.map);
  }

  /** What would be lost with the element: ComfyUI makes nodes anew when something is undone. */
  get state() {
    return { focused: this.focused, inUse: this.inUse, comparison: this.comparison.state };
  }

  set state({ focused, inUse, comparison }) {
    this.focused = focused;
    this.comparison.state = comparison;
    this.wantsFocus = inUse; // once it is on the page
  }

  /** End for good: the node is gone. */
  destroy() {
    this.map = null;
    this.resizes.disconnect();
    this.element.remove();
  }

  resize() {
    if (this.wantsFocus && this.view.map.clientWidth) {
      this.view.map.focus({ preventScroll: true });
      this.wantsFocus = false;
    }
    this.draw();
  }

  // What people do.

  listen() {
    const { map, ratio, clear } = this.view;
    const at = ({ clientX, clientY }) => {
      const { left, top, zoom } = this.onScreen;
      return this.grid?.at((clientX - left) / zoom, (clientY - top) / zoom) ?? null;
    };
    map.addEventListener("pointermove", (event) => this.hover(at(event)));
    map.addEventListener("pointerleave", () => this.hover(null));
    map.addEventListener("pointerdown", (event) => (this.focused = at(event) ?? this.focused));
    map.addEventListener("click", (event) => this.open(at(event)));
    map.addEventListener("keydown", (event) => this.press(event));
    map.addEventListener("focus", () => this.enterMap());
    map.addEventListener("blur", () => this.leaveMap());
    clear.addEventListener("click", () => this.write("forced_roles", ""));
    ratio.addEventListener("input", () => this.settings.write("dummy_ratio", Number(ratio.value)));
    ratio.addEventListener("change", () => this.settings.commit());
    // With the slider in focus ComfyUI leaves Ctrl+Z to the browser, which has nothing to undo there.
    ratio.addEventListener("pointerup", () => ratio.blur());
    this.menu.element.addEventListener("toggle", () => this.draw());
    this.element.addEventListener("pointerenter", () => this.describe()); // a program may have set widgets, or zoomed
  }

  enterMap() {
    this.inUse = true;
    this.focus(this.focused ?? 0);
  }

  /** The map also loses the focus when it is taken off the page, in some browsers just before that. */
  leaveMap() {
    setTimeout(() => (this.inUse &&= !this.view.map.isConnected || document.activeElement === this.view.map));
    this.draw();
  }

  /** Where the map is on the screen, and how much larger than its own pixels: ComfyUI's canvas may be zoomed. */
  get onScreen() {
    const { left, top, width } = this.view.canvas.getBoundingClientRect();
    return { left, top, zoom: width / this.view.canvas.clientWidth };
  }

  hover(head) {
    if (head === this.hovered) return;
    this.hovered = head;
    this.draw();
  }

  focus(head) {
    this.focused = head;
    this.draw();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const beside = this.grid?.beside(this.focused, event.key) ?? null;
    const role = KEYS[event.key.toLowerCase()];
    if (beside !== null) this.focus(beside);
    else if (role !== undefined) this.force(this.focused, role);
    else if (event.key === "Enter" || event.key === " ") this.open(this.focused);
    else if (event.key === "Escape") this.view.map.blur();
    else return;
    event.preventDefault();
  }

  /** Ask which role a head is to have. */
  open(head) {
    if (head === null || !this.settings.isOpen("forced_roles")) return;
    this.focus(head);
    const [x, y, , height] = this.grid.cell(head);
    const { left, top, zoom } = this.onScreen;
    const cell = { left: left + zoom * x, top: top + zoom * y, bottom: top + zoom * (y + height) };
    const forced = this.prediction.own.get(head) ?? null;
    this.menu.open(this.map, head, cell, forced, this.otherwise(head), this.theme);
  }

  /** Give a head a role whatever it attends to; null leaves it to the programming again. */
  force(head, role) {
    if (!this.settings.isOpen("forced_roles")) return;
    this.write("forced_roles", formatForced(withForced(this.prediction.own, head, role), this.map));
    this.view.map.focus({ preventScroll: true });
  }

  write(name, value) {
    this.settings.write(name, value);
    this.settings.commit();
  }

  // What it shows.

  describe() {
    if (!this.map) return;
    const settings = this.settings.read(this.map.settings);
    this.chosen = settings;
    this.prediction = predict(this.map, settings);
    this.other = this.comparison.chosen;
    this.there = this.other && predict(this.other, settings);
    this.change = this.other && difference({ ...this.map, ...this.prediction }, { ...this.other, ...this.there });
    this.curve = retainedCurve(this.map.masses, { cost: settings.cost, forced: this.prediction.forced });
    this.describeMap();
    this.describeRatio();
    this.draw();
  }

  describeMap() {
    const { name, legend, clear, figures: list, problem, scale } = this.view;
    const { prediction, map } = this;
    name.textContent = name.title = prediction.asUsed ? mapName(map) : word("heads.predicted", { map: mapName(map) });
    for (const [role, { entry, count }] of legend.entries()) {
      count.textContent = prediction.counts[role];
      entry.hidden = Boolean(this.change);
    }
    clear.hidden = !prediction.own.size || !this.settings.isOpen("forced_roles");
    clear.textContent = word("heads.clear", { count: prediction.own.size });
    scale.hidden = !this.change;
    const found = this.change ? differenceFigures(prediction, this.there, this.change) : figures(map, prediction);
    showFigures(list, found);
    problem.textContent = prediction.unread.length ? word("heads.unread", { parts: prediction.unread.join(", ") }) : "";
  }

  describeRatio() {
    const { ratio, percent: output, dummies } = this.view;
    const { counts, roles } = this.prediction;
    dummies.textContent = word("heads.count_of", { count: counts[DUMMY], heads: roles.length });
    ratio.disabled = !this.settings.isOpen("dummy_ratio");
    ratio.title = ratio.disabled ? word("heads.linked") : "";
    ratio.value = this.chosen.dummy_ratio;
    output.textContent = `${Math.round(100 * this.chosen.dummy_ratio)} %`;
    ratio.setAttribute("aria-valuetext", `${output.textContent}, ${word("heads.kept")} ${percent(this.prediction.retained)}`);
  }

  /** Draw once, before the screen shows anything. */
  draw() {
    this.request ??= requestAnimationFrame(() => {
      this.request = undefined;
      if (this.map && this.view.canvas.clientWidth) this.drawNow();
    });
  }

  drawNow() {
    const { canvas, curve, legend, scale, map: box, cell } = this.view;
    const theme = (this.theme = themeOf(this.element));
    this.grid = new Grid(this.map, canvas.clientWidth, canvas.clientHeight);
    const heads = { masses: this.map.masses, roles: this.prediction.roles };
    const cells = this.change ? changeCells(theme, this.change, heads.roles, this.there.roles) : roleCells(theme, heads);
    const focused = document.activeElement === box || this.menu.isOpen ? this.focused : null;
    drawMap(canvas, theme, this.grid, { cells, forced: this.prediction.forced, hovered: this.hovered, focused });
    drawCurve(curve, theme, this.curve, this.chosen.dummy_ratio);
    for (const [role, { swatch }] of legend.entries()) swatch.style.background = css(theme.roles[role]);
    if (this.change) showScale(scale, theme, this.change.most);
    this.read(this.hovered ?? focused);
    cell.textContent = this.focused === null ? "" : spoken(this.map, this.focused, this.about(this.focused));
    if (this.focused !== null) box.setAttribute("aria-activedescendant", cell.id);
  }

  read(head) {
    if (head === null) this.readout.clear();
    else this.readout.show(this.map, head, this.about(head), this.other, this.theme);
  }

  /** A head's role, here and in the other map, and where it is forced, what it would be otherwise; null in a profile. */
  about(head) {
    const { roles, own, forced } = this.prediction;
    const otherwise = own.has(head) ? this.otherwise(head) : forced.has(head) ? null : undefined;
    return { role: roles[head], otherwise, there: this.there?.roles[head] };
  }

  otherwise(head) {
    return roleOtherwise(this.map, this.chosen, this.prediction.own, head);
  }
}

function showScale(scale, theme, most) {
  scale.style.setProperty("--dummy-forcing-less", css(theme.less));
  scale.style.setProperty("--dummy-forcing-more", css(theme.more));
  scale.textContent = word("heads.scale", { most: percent(most) });
}
