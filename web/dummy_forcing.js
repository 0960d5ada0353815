// Dummy Forcing in ComfyUI's frontend. Each part is an extension of its own.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { loadWords } from "./common/words.js";
import { liveVideo } from "./live/extension.js";

app.registerExtension({
  name: "DummyForcing.Words",
  async init() {
    try {
      await loadWords(api, app.extensionManager.setting.get("Comfy.Locale") ?? "en");
    } catch (error) {
      console.warn("Dummy Forcing: no texts:", error.message);
    }
  },
});
app.registerExtension(liveVideo(app, api));
