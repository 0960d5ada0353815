// A node's widgets that programme its heads. They are the map's state, so that undo, saving and sharing know of it.

const NAMES = ["dummy_ratio", "cost", "forced_roles", "local_context", "packed_frames"];

export class NodeSettings {
  /** changed: called when a widget or a connection of the node has changed, whoever did it. */
  constructor(app, node, changed) {
    this.app = app;
    this.node = node;
    // Both renderers call the callback of a widget after every change; there is no event.
    for (const widget of NAMES.map((name) => this.#widget(name)).filter(Boolean)) {
      widget.callback = followedBy(widget.callback, changed);
    }
    node.onConnectionsChange = followedBy(node.onConnectionsChange, changed);
  }

  /** What the widgets say; `made`, the settings of a map, where there is no widget or a link has taken its place. */
  read(made) {
    const open = NAMES.filter((name) => this.isOpen(name)).map((name) => [name, this.#widget(name).value]);
    return { ...made, ...Object.fromEntries(open) };
  }

  /** Whether a value can be set here. */
  isOpen(name) {
    const linked = this.node.inputs?.some(({ widget, link }) => widget?.name === name && link !== null);
    return Boolean(this.#widget(name)) && !linked;
  }

  write(name, value) {
    const { app, node } = this;
    const widget = this.#widget(name);
    const before = widget.value;
    if (value === before) return;
    widget.value = value;
    widget.callback?.(value, app.canvas, node);
    node.onWidgetChanged?.(name, widget.value, before, widget);
    node.setDirtyCanvas(true);
  }

  /** Make what was written one step of undo. */
  commit() {
    this.app.canvas.emitBeforeChange();
    this.app.canvas.emitAfterChange();
  }

  #widget(name) {
    return this.node.widgets?.find((widget) => widget.name === name);
  }
}

function followedBy(callback, then) {
  return function (...args) {
    const result = callback?.apply(this, args);
    then();
    return result;
  };
}
