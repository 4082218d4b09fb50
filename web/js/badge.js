// Load ParagonSR Model: a line that says what the chosen file is; its tooltip says where each value came from.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { text } from "./texts.js";

const NODE = "ParagonSRLoadModel";
const WIDTH = 380; // of a new node, so that names of files are not cut
const HEIGHT = 24;
const MARGIN = 15; // as the other fields of nodes that are drawn on a canvas
const GAP = 4; // above and below the line
const STYLE = `
.paragonsr-badge { box-sizing: border-box; width: 100%; height: ${HEIGHT}px; max-height: ${HEIGHT}px; padding: 0 8px;
  border-radius: 4px; overflow: hidden; font: 12px/${HEIGHT}px sans-serif; text-align: center; text-overflow: ellipsis;
  white-space: nowrap; color: var(--input-text, #ddd); background: var(--comfy-input-bg, #222); }
.paragonsr-badge.good::before { content: "\\2713\\00a0"; color: #4caf50; }
.paragonsr-badge.bad { color: #fff; background: #b3261e; }
.paragonsr-badge.bad::before { content: "\\26a0\\fe0e\\00a0"; }
`;
const DELAY = 200; // ms: a workflow that is being loaded sets one value after the other
const GOOD = ["fused", "unfused", "ready"];
const UNKNOWN = "unknown";

function addBadge(node) {
  const frame = document.createElement("div");
  const badge = document.createElement("div");
  frame.append(badge);
  frame.style.padding = `${GAP}px 0`;
  const widget = node.addDOMWidget("paragonsr_badge", "paragonsr_badge", frame, {
    serialize: false,
    hideOnZoom: false,
    hideInPanel: true,
    margin: MARGIN,
    getMinHeight: () => HEIGHT + 2 * GAP + 2 * MARGIN,
    getMaxHeight: () => HEIGHT + 2 * GAP + 2 * MARGIN,
  });
  widget.serialize = false;
  let timer = 0;
  const show = (found) => {
    clearTimeout(timer); // an older question has no say any more
    timer = 0;
    const good = GOOD.includes(found?.state) && found.origin !== "changed";
    badge.className = `paragonsr-badge${good ? " good" : found && found.state !== UNKNOWN ? " bad" : ""}`;
    badge.textContent = found ? inWords(found) : "…";
    badge.title = found?.details ?? "";
  };
  const ask = () => {
    show(null);
    const mine = setTimeout(async () => {
      const found = await recognised(node);
      if (timer === mine) show(found);
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
  node.setSize([Math.max(node.size[0], WIDTH), node.size[1]]);
  ask();
  return { ask, show };
}

/** The line itself. A model with nothing to fuse needs no word about it. */
function inWords({ kind, scale, state, origin }) {
  if (!GOOD.includes(state)) return text(`badge.${state}`);
  const words = [state === "ready" ? "" : state, origin].filter(Boolean).map((word) => text(`badge.${word}`));
  return [kind, `${scale}x`, ...words].join(" · ");
}

/** What the server says about the values of the node's widgets. */
async function recognised(node) {
  const value = (name) => node.widgets.find((widget) => widget.name === name)?.value ?? "";
  const query = { model: value("model_name"), scale: value("scale"), alpha: value("alpha") };
  try {
    return await (await api.fetchApi(`/paragonsr/recognised?${new URLSearchParams(query)}`)).json();
  } catch (error) {
    return { state: UNKNOWN, details: String(error) };
  }
}

function everyNode(graph, visit) {
  for (const node of graph?.nodes ?? []) {
    visit(node);
    if (node.subgraph) everyNode(node.subgraph, visit);
  }
}

app.registerExtension({
  name: "ParagonSR.badge",
  setup() {
    const style = document.createElement("style");
    style.textContent = STYLE;
    document.head.append(style);
  },
  // R: files may have come, changed or gone
  refreshComboInNodes() {
    everyNode(app.rootGraph ?? app.graph, (node) => node.paragonsrBadge?.ask());
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
      if (message.paragonsr_badge) this.paragonsrBadge.show(message.paragonsr_badge[0]);
    };
  },
});
