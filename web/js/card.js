// Load ParagonSR Model: an entry in the context menu that opens what is known about the chosen model in a new tab.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { language, text } from "./texts.js";

const NODE = "ParagonSRLoadModel";

function entry(node) {
  const model = node.widgets?.find((widget) => widget.name === "model_name")?.value;
  const open = () => {
    const query = new URLSearchParams({ model, language: language() });
    window.open(api.apiURL(`/paragonsr/card?${query}`), "_blank", "noopener");
  };
  return { content: text("card.open"), disabled: !model, callback: open };
}

app.registerExtension({
  name: "ParagonSR.card",
  // for frontends that ask extensions; older ones ask the node itself
  getNodeMenuItems: (node) => (node.type === NODE ? [entry(node)] : []),
  beforeRegisterNodeDef(type, definition) {
    if (definition.name !== NODE) return;
    const { getExtraMenuOptions } = type.prototype;
    type.prototype.getExtraMenuOptions = function (canvas, options, ...rest) {
      const result = getExtraMenuOptions?.call(this, canvas, options, ...rest);
      if (!asksExtensions()) options.unshift(entry(this));
      return result;
    };
  },
});

function asksExtensions() {
  return typeof app.collectNodeMenuItems === "function";
}
