// Chunks fetched, the ones used last; those longest unused go first, so that memory does not grow with the video.

const MOST_BYTES = 32 * 2 ** 20;

export class ChunkCache {
  /** load: async (chunk) => Blobs of its frames. */
  constructor(load, mostBytes = MOST_BYTES) {
    this.load = load;
    this.mostBytes = mostBytes;
    this.bytes = 0;
    this.kept = new Map(); // chunk -> { frames, bytes }, in the order of use
    this.loading = new Map(); // chunk -> promise
  }

  /** The Blobs of a chunk if they are here. */
  get(chunk) {
    const found = this.kept.get(chunk);
    if (!found) return null;
    this.kept.delete(chunk);
    this.kept.set(chunk, found);
    return found.frames;
  }

  /** The Blobs of a chunk, fetched if need be; asked for twice, it is fetched once. */
  async fetch(chunk) {
    const here = this.get(chunk);
    if (here) return here;
    if (!this.loading.has(chunk)) {
      const promise = this.load(chunk).finally(() => this.loading.delete(chunk));
      this.loading.set(chunk, promise);
      promise.then((frames) => this.#keep(chunk, frames), () => {});
    }
    return this.loading.get(chunk);
  }

  #keep(chunk, frames) {
    const bytes = frames.reduce((sum, frame) => sum + frame.size, 0);
    this.kept.set(chunk, { frames, bytes });
    this.bytes += bytes;
    for (const [oldest, { bytes: freed }] of this.kept) {
      if (this.bytes <= this.mostBytes || oldest === chunk) break;
      this.kept.delete(oldest);
      this.bytes -= freed;
    }
  }
}
