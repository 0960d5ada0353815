// Number widgets as a person uses them, in both renderers: find one, type into it, click its arrows.

/** A number on the classic canvas: its middle asks for a value, its ends are arrows. */
export class CanvasNumber {
  constructor(page) {
    this.page = page;
  }

  async find(id, name) {
    this.box = await this.page.evaluate(
      ([id, name]) => {
        const { canvas, graph } = window.app;
        const node = graph.getNodeById(id);
        const widget = node.widgets.find((each) => each.name === name);
        const { left, top } = canvas.canvas.getBoundingClientRect();
        const [x, y] = canvas.ds.convertOffsetToCanvas([node.pos[0], node.pos[1] + widget.y]);
        return { x: left + x, y: top + y, width: widget.width ?? node.size[0], height: widget.computedHeight ?? 20 };
      },
      [id, name],
    );
  }

  async type(value) {
    const { x, y, width, height } = this.box;
    await this.page.mouse.click(x + width / 2, y + height / 2);
    const asked = this.page.locator(".graphdialog input");
    await asked.waitFor();
    await asked.press("Control+a");
    await this.page.keyboard.type(String(value));
    await this.page.keyboard.press("Enter");
    await asked.waitFor({ state: "detached" });
  }

  async arrow(direction) {
    const { x, y, width, height } = this.box;
    await this.page.mouse.click(direction < 0 ? x + 22 : x + width - 22, y + height / 2);
  }
}

/** A number of Nodes 2.0: a field between two buttons. */
export class VueNumber {
  constructor(page) {
    this.page = page;
  }

  async find(id, name) {
    this.box = this.page.locator(`[data-node-id="${id}"] [aria-label="${name}"]`);
    this.field = this.box.getByRole("spinbutton");
    await this.field.waitFor();
  }

  async type(value) {
    const { x, y, width, height } = await this.field.boundingBox();
    await this.page.mouse.click(x + width / 2, y + height / 2);
    await this.page.keyboard.press("Control+a");
    await this.page.keyboard.type(String(value));
    await this.page.keyboard.press("Enter");
  }

  async arrow(direction) {
    const button = this.box.getByTestId(direction < 0 ? "decrement" : "increment");
    if (await button.isEnabled()) await button.click();
  }
}
