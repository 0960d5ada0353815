import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (file) => readFileSync(new URL(`../../web/${file}`, import.meta.url), "utf8");
const selectors = (css) => [...css.replace(/\/\*.*?\*\//gs, "").matchAll(/([^{}]+)\{/g)].flatMap(([, found]) => found.split(/,(?![^(]*\))/));
const classes = (selector) => [...selector.matchAll(/\.(dummy-forcing-[\w-]+)/g)].map(([, name]) => name);

test("styles of the head map and of the players leave each other alone: all are on one page", () => {
  const unscoped = (css, root) => new Set(selectors(css).map(classes).filter((names) => !names.includes(root)).flat());
  const heads = unscoped(read("heads/head_map.css"), "dummy-forcing-heads");
  const players = new Set(["live/player.css", "compare/compare.css"].flatMap((file) => selectors(read(file)).flatMap(classes)));
  assert.ok(heads.size > 10 && players.size > 30);
  assert.deepEqual([...heads].filter((name) => players.has(name)), []);
});

test("nothing on a head map wears a class that is the players'", () => {
  const worn = ["view", "readout", "comparison", "role_menu", "words"].flatMap((file) => classes(read(`heads/${file}.js`).replace(/dummy-forcing-/g, ".dummy-forcing-")));
  const players = new Set(["live/player.css", "compare/compare.css"].flatMap((file) => selectors(read(file)))
    .filter((selector) => !/dummy-forcing-(live|compare)\b/.test(selector)).flatMap(classes));
  assert.ok(worn.length > 15);
  assert.deepEqual(worn.filter((name) => players.has(name)), []);
});
