// What a comparison has found, in words and numbers.

import { word } from "../common/words.js";
import { byteSize, clockTime } from "../live/words.js";

/** The time that the player shows with a frame. */
export function frameTime(frame, frameRate) {
  return clockTime((frame + 1) / frameRate, true);
}

/** dB; equal frames, whose PSNR is infinite, come as null. */
export function psnrText(value) {
  return value === null ? word("compare.equal") : `${value.toFixed(1)} dB`;
}

export function ssimText(value) {
  return value.toFixed(value > 0.99 && value < 1 ? 4 : 3);
}

const COSTS = {
  dit_fps: frames,
  end_to_end_fps: frames,
  kv_peak_bytes: byteSize,
  seconds: (value) => (value < 60 ? `${value.toFixed(1)} s` : clockTime(value)),
};

function frames(value) {
  return `${value.toFixed(value < 10 ? 2 : 1)} FPS`;
}

/**
 * What the runs have cost, in the order to show it: name, value of each as a share of the larger one and as a text, and
 * how many times a's value b's is. Null where a clip is no run.
 */
export function costRows(costs) {
  return Object.keys(COSTS)
    .filter((name) => costs[name]?.some((value) => value !== null))
    .map((name) => {
      const [a, b] = costs[name];
      const most = Math.max(a ?? 0, b ?? 0) || 1;
      const bar = (value) => (value === null ? null : { share: value / most, text: COSTS[name](value) });
      return { name, bars: [bar(a), bar(b)], ratio: a && b !== null ? ratioText(b / a) : "" };
    });
}

/** 0.2734 -> "× 0.27", 12.34 -> "× 12.3" */
export function ratioText(ratio) {
  return `× ${ratio.toFixed(ratio < 10 ? 2 : 1)}`;
}

/** A note of the server, in the reader's language. */
export function noteText({ code, ...values }) {
  return word(`compare.note.${code}`, values);
}
