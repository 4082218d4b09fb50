// Compare Images (ParagonSR): two pictures under one slider, inside the node.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { text } from "./texts.js";

const NODE = "ParagonSRCompareImages";
const MIN_HEIGHT = 240;
const LABELS = 120; // pixels that two labels need beside each other

const STYLE = `
.paragonsr-compare { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; overflow: hidden;
  box-sizing: border-box; font: 12px sans-serif; color: var(--input-text, #ddd); }
.paragonsr-compare .stage { position: relative; flex: 1 1 0; min-height: 0; border-radius: 4px; overflow: hidden;
  background: var(--comfy-input-bg, #222); }
.paragonsr-compare img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.paragonsr-compare .after { clip-path: inset(0 0 0 var(--split)); }
.paragonsr-compare .line { position: absolute; top: 0; bottom: 0; left: var(--split); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000; pointer-events: none; }
.paragonsr-compare .name { position: absolute; top: 4px; padding: 1px 6px; border-radius: 3px; color: #fff;
  background: rgb(0 0 0 / 55%); pointer-events: none; }
.paragonsr-compare .empty { position: absolute; inset: 0; display: grid; place-items: center; padding: 8px;
  text-align: center; }
.paragonsr-compare input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; }
.paragonsr-compare .stage:focus-within { outline: 1px solid var(--p-primary-color, #4a90d9); }
.paragonsr-compare .foot { display: flex; flex: none; align-items: center; gap: 6px; min-height: 20px; }
.paragonsr-compare .scores { flex: 1; text-align: center; overflow-wrap: anywhere; }
.paragonsr-compare button { padding: 0 8px; border: 1px solid var(--border-color, #555); border-radius: 3px;
  color: inherit; background: var(--comfy-input-bg, #222); cursor: pointer; }
`;

function element(tag, className, parent, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  parent?.append(made);
  return made;
}

/** The slider, and what it shows: `show` takes what the node sent. */
class Slider {
  constructor() {
    this.root = element("div", "paragonsr-compare");
    this.stage = element("div", "stage", this.root);
    this.empty = element("div", "empty", this.stage, text("compare.empty"));
    this.before = this.picture("before");
    this.after = this.picture("after");
    this.line = element("div", "line", this.stage);
    this.labels = ["before", "after"].map((side) => element("span", "name", this.stage, text(`compare.${side}`)));
    this.range = element("input", "", this.stage);
    Object.assign(this.range, { type: "range", min: 0, max: 1000, value: 500, ariaLabel: text("compare.slider") });
    this.range.addEventListener("input", () => this.split());
    this.foot();
    this.show({});
  }

  picture(className) {
    const image = element("img", className, this.stage);
    image.alt = text(`compare.${className}`);
    image.draggable = false;
    image.addEventListener("load", () => this.split());
    image.addEventListener("error", () => image.isConnected && this.show({})); // gone with ComfyUI's temporary folder
    return image;
  }

  foot() {
    const foot = element("div", "foot", this.root);
    this.back = element("button", "", foot, "‹");
    this.scores = element("span", "scores", foot);
    this.next = element("button", "", foot, "›");
    this.back.ariaLabel = text("compare.previous");
    this.next.ariaLabel = text("compare.next");
    this.back.addEventListener("click", () => this.turn(-1));
    this.next.addEventListener("click", () => this.turn(1));
  }

  /** The slider runs over the picture, which leaves free what `object-fit: contain` does not fill. */
  split() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const { naturalWidth, naturalHeight } = this.before;
    const shown = naturalWidth ? Math.min(width, (height * naturalWidth) / naturalHeight) : width;
    const left = (width - shown) / 2;
    this.stage.style.setProperty("--split", `${left + (shown * this.range.value) / 1000}px`);
    Object.assign(this.range.style, { left: `${left}px`, width: `${shown}px` });
    this.labels[0].style.left = this.labels[1].style.right = `${left + 4}px`;
    for (const label of this.labels) label.style.visibility = shown < LABELS ? "hidden" : "";
  }

  show(message) {
    this.pairs = (message.paragonsr_before ?? []).map((before, index) => ({
      before,
      after: message.paragonsr_after[index],
      scores: message.paragonsr_scores?.[index] ?? "",
    }));
    this.index = 0;
    this.draw();
  }

  turn(step) {
    this.index = (this.index + step + this.pairs.length) % this.pairs.length;
    this.draw();
  }

  draw() {
    const pair = this.pairs[this.index];
    for (const part of [this.before, this.after, this.line, this.range, ...this.labels]) part.hidden = !pair;
    this.empty.hidden = Boolean(pair);
    this.empty.style.display = pair ? "none" : "";
    this.back.hidden = this.next.hidden = this.pairs.length < 2;
    this.scores.textContent = "";
    if (!pair) return;
    this.before.src = address(pair.before);
    this.after.src = address(pair.after);
    const place = this.pairs.length > 1 ? `${this.index + 1}/${this.pairs.length}: ` : "";
    this.scores.textContent = place + pair.scores;
    this.split();
  }
}

function address(file) {
  return api.apiURL(`/view?${new URLSearchParams(file)}`);
}

function addSlider(node) {
  const slider = new Slider();
  const widget = node.addDOMWidget("paragonsr_slider", "paragonsr_slider", slider.root, {
    serialize: false,
    hideOnZoom: false,
    hideInPanel: true,
    getMinHeight: () => MIN_HEIGHT,
  });
  widget.serialize = false;
  new ResizeObserver(() => slider.split()).observe(slider.stage);
  node.setSize([Math.max(node.size[0], 360), Math.max(node.size[1], MIN_HEIGHT + 160)]);
  return slider;
}

/** What a node showed last, kept for this browser tab: over other tabs of ComfyUI, undo, and a reload of the page. */
const memory = {
  key: (node) => `ParagonSR.compare:${app.rootGraph?.id ?? app.graph?.id}:${node.graph?.id}:${node.id}`,
  keep(node, message) {
    try {
      sessionStorage.setItem(this.key(node), JSON.stringify(message));
    } catch {
      // full or forbidden: the pictures are shown all the same
    }
  },
  of(node) {
    return JSON.parse(sessionStorage.getItem(this.key(node)) ?? "{}");
  },
};

app.registerExtension({
  name: "ParagonSR.compare",
  setup() {
    element("style", "", document.head, STYLE);
  },
  beforeRegisterNodeDef(type, definition) {
    if (definition.name !== NODE) return;
    const { onNodeCreated, onConfigure, onExecuted } = type.prototype;
    type.prototype.onNodeCreated = function (...values) {
      onNodeCreated?.apply(this, values);
      this.paragonsrSlider = addSlider(this);
    };
    type.prototype.onExecuted = function (message) {
      onExecuted?.call(this, message);
      this.paragonsrSlider.show(message);
      memory.keep(this, message);
    };
    type.prototype.onConfigure = function (stored) {
      onConfigure?.call(this, stored);
      this.paragonsrSlider.show(memory.of(this));
    };
  },
});
