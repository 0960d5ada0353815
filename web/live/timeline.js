// Which frames there are: chunks, and the frames in them. A stream says so as runs of equal chunks, oldest first.

export class Timeline {
  /** runs: [[chunks, frames of each], ...]; firstChunk: the oldest that the server still has. */
  constructor(runs = [], firstChunk = 0) {
    this.runs = runs;
    this.chunks = runs.reduce((sum, [chunks]) => sum + chunks, 0);
    this.frames = runs.reduce((sum, [chunks, frames]) => sum + chunks * frames, 0);
    this.firstChunk = Math.min(firstChunk, this.chunks);
    this.firstFrame = this.start(this.firstChunk);
  }

  /** The first frame of a chunk; of the chunk behind the last, the number of frames. */
  start(chunk) {
    let at = 0;
    let left = chunk;
    for (const [chunks, frames] of this.runs) {
      if (left <= chunks) return at + left * frames;
      at += chunks * frames;
      left -= chunks;
    }
    return at;
  }

  /** Chunk of a frame and the frame's place in it, or null where there is none. */
  locate(frame) {
    if (frame < 0) return null;
    let [first, at] = [0, 0];
    for (const [chunks, frames] of this.runs) {
      const inside = frame - at;
      if (inside < chunks * frames) {
        const chunk = Math.floor(inside / frames);
        return { chunk: first + chunk, index: inside - chunk * frames };
      }
      first += chunks;
      at += chunks * frames;
    }
    return null;
  }

  /** The nearest frame that the server has; 0 if there is none. */
  clamp(frame) {
    return Math.max(this.firstFrame, Math.min(this.frames - 1, Math.round(frame)), 0);
  }

  /** Where the newest chunk begins: what "live" means. */
  get edge() {
    return this.chunks ? this.start(this.chunks - 1) : 0;
  }
}

/** The text that holds at a chunk: of the last mark not behind it; null where the server does not know it. */
export function promptAt(marks, chunk) {
  return marks.reduce((text, mark) => (mark.chunk <= chunk ? mark.text : text), "");
}
