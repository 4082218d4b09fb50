// Fields that have nothing to say are not shown, choices stand there in the user's language, and values that earlier
// versions of the pack stored keep their places.

import { app } from "../../../scripts/app.js";
import { text } from "./texts.js";

const is = (field, ...values) => (node) => values.includes(valueOf(node, field));
const not = (field, ...values) => (node) => !values.includes(valueOf(node, field));
const linked = (input) => (node) => node.inputs?.some(({ name, link }) => name === input && link != null) ?? false;

/** When a field matters, by its name. A field that is not here always does. */
const MATTERS = {
  factor: is("resize", "factor"),
  width: is("resize", "pixels"),
  height: is("resize", "pixels"),
  longest_side: is("resize", "longest side"),
  mask_is: linked("mask"),
  quality: not("codec", "ffv1", "prores"),
  border: is("scores", true),
};
const CONTROLLERS = ["resize", "codec", "scores"];
const WIDTH = 240; // so that no title is cut

function field(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

function valueOf(node, name) {
  return field(node, name)?.value;
}

/** Show what matters and hide the rest; the node grows and shrinks with it unless `still`. */
function update(node, still = false) {
  const before = node.computeSize()[1];
  let changed = false;
  for (const [name, matters] of Object.entries(MATTERS)) {
    const widget = field(node, name);
    if (!widget) continue;
    const hidden = !matters(node) && !linked(name)(node);
    if (Boolean(widget.hidden) === hidden) continue;
    changed = true;
    widget.hidden = hidden;
    if (widget.options) widget.options.hidden = hidden;
  }
  if (!changed) return;
  node.widgets = [...node.widgets]; // front ends that draw with Vue look again
  if (!still) node.setSize([node.size[0], node.size[1] + node.computeSize()[1] - before]);
  app.canvas?.setDirty(true, true);
}

function watch(node) {
  for (const name of CONTROLLERS) {
    const widget = field(node, name);
    if (!widget) continue;
    const { callback } = widget;
    widget.callback = function (...values) {
      const result = callback?.apply(this, values);
      update(node);
      return result;
    };
  }
}

/** Choices in the user's language; what is stored and sent stays as it is. */
function translate(node) {
  for (const widget of node.widgets ?? []) {
    if (widget.type !== "combo" || !widget.options) continue;
    const { getOptionLabel } = widget.options;
    widget.options.getOptionLabel = (value) => {
      const own = text(`choice.${value}`);
      return own === String(value) && getOptionLabel ? getOptionLabel(value) : own;
    };
  }
}

/** Values of workflows that were stored before a field existed, or had another form. */
function migrated(kind, values) {
  if (!Array.isArray(values)) return values;
  if (kind === "ParagonSRLoadModel") {
    const [model, scale, alpha] = values;
    const number = (value, digits) => (value > 0 || (value === 0 && digits) ? value.toFixed(digits) : "auto");
    return [
      model,
      typeof scale === "number" ? number(scale, 0) : scale,
      typeof alpha === "number" ? number(alpha, 2) : alpha,
    ];
  }
  const names = ["resize", "factor", "width", "height", "longest_side"];
  const older = kind.startsWith("ParagonSRUpscale") && values.length > 5 && typeof values[names.length - 1] === "string";
  return older ? [...values.slice(0, 4), 2048, ...values.slice(4)] : values;
}

app.registerExtension({
  name: "ParagonSR.fields",
  beforeRegisterNodeDef(type, definition) {
    if (!definition.name.startsWith("ParagonSR")) return;
    const { configure, onNodeCreated, onConfigure, onConnectionsChange } = type.prototype;
    type.prototype.onNodeCreated = function (...values) {
      onNodeCreated?.apply(this, values);
      translate(this);
      watch(this);
      update(this);
      this.setSize([Math.max(this.size[0], WIDTH), this.size[1]]);
    };
    type.prototype.configure = function (stored) {
      return configure.call(this, { ...stored, widgets_values: migrated(definition.name, stored.widgets_values) });
    };
    type.prototype.onConfigure = function (stored) {
      onConfigure?.call(this, stored);
      update(this, true);
    };
    type.prototype.onConnectionsChange = function (...values) {
      onConnectionsChange?.apply(this, values);
      update(this);
    };
  },
});
