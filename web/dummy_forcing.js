// Dummy Forcing in ComfyUI's frontend. Each part is an extension of its own.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { loadWords, speak } from "./common/words.js";
import { compareVideos } from "./compare/extension.js";
import { toldErrors } from "./errors/extension.js";
import { headMap } from "./heads/extension.js";
import { liveVideo } from "./live/extension.js";
import { resultTexts } from "./texts/extension.js";

const LOCALE = "Comfy.Locale";

app.registerExtension({
  name: "DummyForcing.Words",
  async init() {
    try {
      await loadWords(api);
    } catch (error) {
      console.warn("Dummy Forcing: no texts:", error.message);
    }
    speak(app.extensionManager.setting.get(LOCALE));
    // The frontend then loads the workflow anew, so that what stands on nodes is built with the new words.
    app.ui.settings.addEventListener(`${LOCALE}.change`, ({ detail }) => speak(detail.value));
  },
});
app.registerExtension(liveVideo(app, api));
app.registerExtension(headMap(app, api));
app.registerExtension(compareVideos(app, api));
app.registerExtension(resultTexts(app, api));
app.registerExtension(toldErrors(app, api));
