// Load ParagonSR Model: a line that says what the last run recognised; its tooltip says where each value came from.

import { app } from "../../../scripts/app.js";

const NODE = "ParagonSRLoadModel";
const HEIGHT = 24;
const MARGIN = 4; // around the line, inside the space that the widget gets
const STYLE = `
.paragonsr-badge { box-sizing: border-box; width: 100%; height: ${HEIGHT}px; padding: 0 8px; border-radius: 4px;
  overflow: hidden; font: 12px/${HEIGHT}px sans-serif; text-align: center; text-overflow: ellipsis;
  white-space: nowrap; color: var(--input-text, #ddd); background: var(--comfy-input-bg, #222); }
`;
const UNKNOWN = "recognised when it runs";

function addBadge(node) {
  const badge = document.createElement("div");
  badge.className = "paragonsr-badge";
  const show = (text, details) => {
    badge.textContent = text;
    badge.title = details;
  };
  show(UNKNOWN, "");
  const widget = node.addDOMWidget("paragonsr_badge", "paragonsr_badge", badge, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: () => HEIGHT + 2 * MARGIN,
    getMaxHeight: () => HEIGHT + 2 * MARGIN,
  });
  widget.serialize = false;
  for (const other of node.widgets) {
    const { callback } = other;
    other.callback = function (...values) {
      delete node.properties.paragonsr; // what it said was about another file or other values
      show(UNKNOWN, "");
      return callback?.apply(this, values);
    };
  }
  return show;
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
      // kept with the workflow, because a cached result is not sent again
      if (this.properties.paragonsr) this.paragonsrBadge(...this.properties.paragonsr);
    };
    type.prototype.onExecuted = function (message) {
      onExecuted?.call(this, message);
      if (!message.paragonsr_badge) return;
      this.properties.paragonsr = [message.paragonsr_badge[0], message.paragonsr_details[0]];
      this.paragonsrBadge(...this.properties.paragonsr);
    };
  },
});
