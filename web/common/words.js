// Texts in the reader's language: those under "dummyForcing" in locales/<language>/main.json.

let languages = {}; // the texts of each
let texts = {}; // of the one that is spoken

/** Take texts; those of English stand in for what is missing. */
export function useWords(english, found = {}) {
  texts = { ...english, ...found };
}

/** Fetch the texts of every language, so that another one is there at once. */
export async function loadWords(api) {
  const all = await (await api.fetchApi("/i18n")).json(); // of every pack: what is not ours is let go
  languages = Object.fromEntries(Object.entries(all).map(([name, { dummyForcing }]) => [name, dummyForcing]));
}

/** Use a language such as "zh" or "zh-TW"; English where we have neither that nor its like. */
export function speak(language = "en") {
  useWords(languages.en, languages[language] ?? languages[language.split("-")[0]]);
}

/** The text of a key, with values in place of its {names}. */
export function word(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
