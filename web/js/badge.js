// Load ParagonSR Model: a line that says what the chosen file is; its tooltip says where each value came from.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const NODE = "ParagonSRLoadModel";
const HEIGHT = 24;
const MARGIN = 4; // around the line, inside the space that the widget gets
const STYLE = `
.paragonsr-badge { box-sizing: border-box; width: 100%; height: ${HEIGHT}px; max-height: ${HEIGHT}px; padding: 0 8px;
  border-radius: 4px; overflow: hidden; font: 12px/${HEIGHT}px sans-serif; text-align: center; text-overflow: ellipsis;
  white-space: nowrap; color: var(--input-text, #ddd); background: var(--comfy-input-bg, #222); }
`;
const DELAY = 200; // ms: a workflow that is being loaded sets one value after the other

function addBadge(node) {
  const badge = document.createElement("div");
  badge.className = "paragonsr-badge";
  const widget = node.addDOMWidget("paragonsr_badge", "paragonsr_badge", badge, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: () => HEIGHT + 2 * MARGIN,
    getMaxHeight: () => HEIGHT + 2 * MARGIN,
  });
  widget.serialize = false;
  let timer = 0;
  const show = (text, details) => {
    clearTimeout(timer); // an older question has no say any more
    timer = 0;
    badge.textContent = text;
    badge.title = details;
  };
  const ask = () => {
    show("…", "");
    const mine = setTimeout(async () => {
      const { badge: text, details } = await recognised(node);
      if (timer === mine) show(text, details);
    }, DELAY);
    timer = mine;
  };
  for (const other of node.widgets) {
    const { callback } = other;
    other.callback = function (...values) {
      ask();
      return callback?.apply(this, values);
    };
  }
  ask();
  return { ask, show };
}

/** What the server says about the values of the node's widgets. */
async function recognised(node) {
  const value = (name) => node.widgets.find((widget) => widget.name === name)?.value ?? "";
  const query = { model: value("model_name"), scale: value("scale"), alpha: value("alpha") };
  try {
    return await (await api.fetchApi(`/paragonsr/recognised?${new URLSearchParams(query)}`)).json();
  } catch (error) {
    return { badge: "recognised when it runs", details: String(error) };
  }
}

app.registerExtension({
  name: "ParagonSR.badge",
  setup() {
    const style = document.createElement("style");
    style.textContent = STYLE;
    document.head.append(style);
  },
  beforeRegisterNodeDef(type, definition) {
    if (definition.name !== NODE) return;
    const { onNodeCreated, onConfigure, onExecuted } = type.prototype;
    type.prototype.onNodeCreated = function (...values) {
      onNodeCreated?.apply(this, values);
      this.paragonsrBadge = addBadge(this);
    };
    type.prototype.onConfigure = function (stored) {
      onConfigure?.call(this, stored);
      this.paragonsrBadge.ask();
    };
    type.prototype.onExecuted = function (message) {
      onExecuted?.call(this, message);
      if (!message.paragonsr_badge) return;
      this.paragonsrBadge.show(message.paragonsr_badge[0], message.paragonsr_details[0]);
    };
  },
});
