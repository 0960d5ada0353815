// Texts in the reader's language: those under "dummyForcing" in locales/<language>/main.json.

let texts = {};

/** Take texts; those of English stand in for what is missing. */
export function useWords(english, found = {}) {
  texts = { ...english, ...found };
}

/** Fetch the texts of a language such as "zh" or "zh-TW". */
export async function loadWords(api, language) {
  const all = await (await api.fetchApi("/i18n")).json();
  const of = (name) => all[name]?.dummyForcing;
  useWords(of("en"), of(language) ?? of(language.split("-")[0]));
}

/** The text of a key, with values in place of its {names}. */
export function word(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
