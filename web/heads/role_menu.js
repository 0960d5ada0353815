// The menu at a cell: which role the head is to have. Above everything, so that neither zoom nor node cut it off.

import { element } from "../common/dom.js";
import { word } from "../common/words.js";
import { css } from "./colours.js";
import { headName, roleName } from "./words.js";

export const KEYS = { a: null, s: 0, n: 1, d: 2 }; // what a key makes of a head; null leaves it to the programming
const AUTOMATIC = "a";

export class RoleMenu {
  /** choose: called with the role chosen, or null for automatic. */
  constructor(choose) {
    this.title = element("p", {});
    this.items = Object.keys(KEYS).map((key) => itemOf(key));
    this.element = element("div", { class: "dummy-forcing-menu", popover: "auto", role: "menu" }, this.title, ...this.items);
    this.element.addEventListener("click", ({ target }) => {
      const item = target.closest("button");
      if (!item) return;
      this.element.hidePopover();
      choose(KEYS[item.dataset.key]);
    });
    this.element.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Open beside a cell on the screen. role: what is forced, or null; otherwise: what it is if nothing is. */
  open(map, at, cell, role, otherwise, theme) {
    this.title.textContent = headName(map, at);
    for (const item of this.items) {
      const own = KEYS[item.dataset.key];
      item.setAttribute("aria-checked", own === role);
      item.firstChild.style.background = css(theme.roles[own ?? otherwise]);
      if (own === null) item.children[1].textContent = word("heads.automatic", { role: roleName(otherwise) });
    }
    this.element.showPopover();
    const { width, height } = this.element.getBoundingClientRect();
    const below = cell.bottom + height + 4 < innerHeight;
    this.element.style.left = `${Math.max(4, Math.min(cell.left, innerWidth - width - 4))}px`;
    this.element.style.top = `${Math.max(4, below ? cell.bottom + 4 : cell.top - height - 4)}px`;
    this.items.find((item) => item.getAttribute("aria-checked") === "true").focus();
  }

  get isOpen() {
    return this.element.matches(":popover-open");
  }

  #move(event) {
    const at = this.items.indexOf(event.target);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.items.at((at + step) % this.items.length).focus();
    else if (event.key in KEYS) this.items.find((item) => item.dataset.key === event.key).click();
    else return;
    event.preventDefault();
  }
}

function itemOf(key) {
  const name = key === AUTOMATIC ? "" : roleName(KEYS[key]);
  const parts = [element("i", {}), element("span", {}, name), element("kbd", {}, key.toUpperCase())];
  return element("button", { type: "button", role: "menuitemradio", "data-key": key }, ...parts);
}
