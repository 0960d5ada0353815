// Texts in the reader's language: those under "dummyForcing" in locales/<language>/main.json.

let languages = {}; // the texts of each
let texts = {}; // of the one that is spoken

/** Take texts; those of English stand in for what is missing. */
export function useWords(english, found = {}) {
  texts = { ...english, ...found };
}

/** Fetch the texts of every language, so that another one is there at once. */
export async function loadWords(api) {
  languages = await (await api.fetchApi("/i18n")).json();
}

/** Use a language such as "zh" or "zh-TW"; English where we have neither that nor its like. */
export function speak(language = "en") {
  const of = (name) => languages[name]?.dummyForcing;
  useWords(of("en"), of(language) ?? of(language.split("-")[0]));
}

/** The text of a key, with values in place of its {names}. */
export function word(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
