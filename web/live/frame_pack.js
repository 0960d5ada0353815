// A chunk as the server sends it: uint32 count, uint32 size of each JPEG file, the files; little endian.

import { word } from "../common/words.js";

const MOST_FRAMES = 100_000;

/** The files of a pack as Blobs, which share the memory of the pack. */
export function unpack(buffer) {
  if (buffer.byteLength < 4) throw damaged();
  const view = new DataView(buffer);
  const count = view.getUint32(0, true);
  let at = 4 + 4 * count;
  if (count > MOST_FRAMES || at > buffer.byteLength) throw damaged();
  const whole = new Blob([buffer]);
  const files = [];
  for (let index = 0; index < count; index++) {
    const size = view.getUint32(4 + 4 * index, true);
    files.push(whole.slice(at, (at += size), "image/jpeg"));
  }
  if (at !== buffer.byteLength) throw damaged();
  return files;
}

const damaged = () => new RangeError(word("live.chunk_damaged"));
