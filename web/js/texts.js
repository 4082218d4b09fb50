// What the pack says in the browser beside names and tooltips, in the language of ComfyUI's settings (web/texts).

import { app } from "../../../scripts/app.js";

const FALLBACK = "en";
let texts = {};

/** The user's language, in ComfyUI's code. */
export function language() {
  const settings = app.extensionManager?.setting ?? { get: (id) => app.ui.settings.getSettingValue(id) };
  return settings.get("Comfy.Locale") || FALLBACK;
}

/** A text in the user's language; a choice that needs no translation is its own text. */
export function text(key) {
  return texts[key] ?? key.replace(/^choice\./, "");
}

async function read(code) {
  const answer = await fetch(new URL(`../texts/${code}.json`, import.meta.url)).catch(() => null);
  return answer?.ok ? answer.json() : {};
}

app.registerExtension({
  name: "ParagonSR.texts",
  // awaited before the first node is made
  async init() {
    const code = language();
    const [english, own] = await Promise.all([read(FALLBACK), code === FALLBACK ? {} : read(code)]);
    texts = { ...english, ...own };
  },
});
