// Where the cells of layers (down) x heads (across) lie on a canvas.

const MARGIN = { left: 30, top: 2, right: 4, bottom: 26 }; // pixels, for numbers and names of the axes
const MOST_CELL = 72;
const MOST_ASPECT = 2.5; // of a cell, either way
const LEAST_LABELLED = 16; // pixels between two numbers on an axis

export class Grid {
  constructor({ layers, heads }, width, height) {
    this.layers = layers;
    this.heads = heads;
    const across = (width - MARGIN.left - MARGIN.right) / heads;
    const down = (height - MARGIN.top - MARGIN.bottom) / layers;
    this.width = cellSize(Math.min(across, MOST_ASPECT * down));
    this.height = cellSize(Math.min(down, MOST_ASPECT * across));
    this.left = MARGIN.left + Math.max(0, Math.floor((width - MARGIN.left - MARGIN.right - heads * this.width) / 2));
    this.top = MARGIN.top;
    this.gap = Math.min(this.width, this.height) >= 5 ? 1 : 0.5;
  }

  get right() {
    return this.left + this.heads * this.width;
  }

  get bottom() {
    return this.top + this.layers * this.height;
  }

  /** The head at a point, or null. */
  at(x, y) {
    const [head, layer] = [Math.floor((x - this.left) / this.width), Math.floor((y - this.top) / this.height)];
    const inside = head >= 0 && head < this.heads && layer >= 0 && layer < this.layers;
    return inside ? layer * this.heads + head : null;
  }

  /** A head's cell: x, y, width, height; without the gap to the next. */
  cell(at) {
    const { width, height, gap } = this;
    const [layer, head] = [Math.floor(at / this.heads), at % this.heads];
    return [this.left + head * width, this.top + layer * height, width - gap, height - gap];
  }

  /** Numbers to write on an axis of `count` cells of `size` pixels. */
  static labels(count, size) {
    const step = [1, 2, 5, 10, 20, 50].find((each) => each * size >= LEAST_LABELLED) ?? 100;
    return Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step);
  }

  /** The head beside another one in the direction of an arrow key; at the edge, itself. */
  beside(at, key) {
    const [layer, head] = [Math.floor(at / this.heads), at % this.heads];
    if (key === "ArrowUp") return layer ? at - this.heads : at;
    if (key === "ArrowDown") return layer < this.layers - 1 ? at + this.heads : at;
    if (key === "ArrowLeft") return head ? at - 1 : at;
    if (key === "ArrowRight") return head < this.heads - 1 ? at + 1 : at;
    if (key === "Home") return at - head;
    if (key === "End") return at - head + this.heads - 1;
    return null;
  }
}

/** Whole pixels, so that edges are sharp, where a cell has several. */
function cellSize(pixels) {
  const most = Math.min(MOST_CELL, Math.max(1, pixels));
  return most >= 4 ? Math.floor(most) : most;
}
