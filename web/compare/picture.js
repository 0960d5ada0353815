// Two videos in one picture: a on the left of the wipe, b on the right of it, or what they differ in.

const DOUBLINGS = 3;

/** How many times as bright a difference is shown. */
export const AMPLIFIED = 2 ** DOUBLINGS;

export class WipePicture {
  constructor() {
    this.both = document.createElement("canvas"); // the frame as it came, b beside a: the wipe moves while paused, too
    this.canvas = null;
    this.wipe = 0.5; // share of the width that is a's
    this.difference = false;
  }

  /** Put a frame on a canvas, which has the size of a. */
  paint(canvas, frame) {
    this.canvas = canvas;
    [this.both.width, this.both.height] = [frame.width, frame.height];
    this.both.getContext("2d").drawImage(frame, 0, 0);
    this.draw();
  }

  /** Nothing is there to be wiped until the next frame. */
  forget() {
    this.canvas = null;
  }

  /** Show this much of a. */
  wipeTo(share) {
    this.wipe = share;
    this.draw();
  }

  showDifference(difference) {
    this.difference = difference;
    this.draw();
  }

  draw() {
    if (!this.canvas) return;
    const split = Math.round(this.wipe * this.canvas.width);
    this.#put(0, 0);
    if (this.difference) this.#subtract();
    else if (split < this.canvas.width) this.#put(this.both.width / 2, split);
  }

  /** A half of the frame from this column on, which is wider than the video: whole JPEG blocks. */
  #put(half, from) {
    const { width, height } = this.canvas;
    const draw = this.canvas.getContext("2d");
    draw.drawImage(this.both, half + from, 0, width - from, height, from, 0, width - from, height);
  }

  #subtract() {
    const draw = this.canvas.getContext("2d");
    draw.globalCompositeOperation = "difference";
    this.#put(this.both.width / 2, 0);
    draw.globalCompositeOperation = "lighter"; // adds: the picture to itself
    for (let time = 0; time < DOUBLINGS; time++) draw.drawImage(this.canvas, 0, 0);
    draw.globalCompositeOperation = "source-over";
  }
}
