import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { loadWords, speak, useWords, word } from "../../web/common/words.js";

const WEB = new URL("../../web/", import.meta.url).pathname;
const LOCALES = new URL("../../locales/", import.meta.url).pathname;
const english = JSON.parse(readFileSync(join(LOCALES, "en/main.json"), "utf8")).dummyForcing;

const SERVED = {
  en: { dummyForcing: { one: "one", two: "two of {count}" }, nodeDefs: {} },
  zh: { dummyForcing: { one: "一" } },
  fr: { otherPack: { one: "un" } },
};

beforeEach(() => loadWords({ fetchApi: async (path) => new Response(JSON.stringify(path === "/i18n" ? SERVED : {})) }));

test("a language lends from English what it lacks", () => {
  speak("zh");
  assert.deepEqual([word("one"), word("two", { count: 3 })], ["一", "two of 3"]);
});

test("a language that only other packs have, none at all and no setting are English", () => {
  for (const language of ["fr", "de", "constructor", undefined]) {
    speak("zh");
    speak(language);
    assert.equal(word("one"), "one");
  }
});

test("a country's language is the language, unless it has its own texts", () => {
  for (const language of ["zh-TW", "zh-CN"]) {
    speak(language);
    assert.equal(word("one"), "一");
  }
});

test("values fill their places as they are, and places without one stay", () => {
  useWords({ key: "{a} and {b}, {a}" });
  assert.equal(word("key", { a: "{b} $&", b: 0 }), "{b} $& and 0, {b} $&");
  assert.equal(word("key", { a: 1 }), "1 and {b}, 1");
  assert.equal(word("no.such.key"), "no.such.key");
});

test("every text that the modules ask for is there, and none besides", () => {
  const source = readdirSync(WEB, { recursive: true })
    .filter((name) => name.endsWith(".js"))
    .map((name) => readFileSync(join(WEB, name), "utf8"))
    .join("\n");
  const asked = [...source.matchAll(/"((?:live|heads|compare|server)\.[\w.]+)"/g)].map(([, key]) => key);
  const built = [...source.matchAll(/word\(`([\w.]+)\$\{\w+\}([\w.]*)`/g)].map(([, start, end]) => [start, end]);
  const isBuilt = (key) => built.some(([start, end]) => key.startsWith(start) && key.endsWith(end));
  assert.deepEqual(asked.filter((key) => !(key in english)), []);
  assert.deepEqual(Object.keys(english).filter((key) => !asked.includes(key) && !isBuilt(key)), []);
  for (const parts of built) assert.ok(Object.keys(english).some((key) => key.startsWith(parts[0]) && key.endsWith(parts[1])), parts.join("…"));
});
