// A stream in words and numbers.

import { word } from "../common/words.js";

/** 75.4 -> "1:15", 3700 -> "1:01:40"; with tenths "1:15.4" */
export function clockTime(seconds, tenths = false) {
  if (tenths) return `${clockTime(seconds)}.${Math.floor(10 * Math.max(0, seconds)) % 10}`;
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}`;
}

/** 1536 -> "1.5 KiB" */
export function byteSize(count) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (count < 1024) return `${unit === "B" ? count : count.toFixed(1)} ${unit}`;
    count /= 1024;
  }
  return `${count.toFixed(1)} GiB`;
}

/** What a stream does, in a few words. */
export function standing(state, chunksMade) {
  const numbers = { chunk: chunksMade, chunks: state.chunks };
  const chunk = word(state.chunks === null ? "live.chunk" : "live.chunk_of", numbers);
  if (state.status === "finished") return word("live.status.finished");
  if (state.status === "running" && !state.stopping) return chunk;
  const ending = state.status === "running" ? "stopping" : state.status;
  return chunksMade ? word(`live.status.${ending}_after`, { chunk }) : word(`live.status.${ending}`);
}

/** Why the server does not do what it was asked for, by its code. */
export function refusal(code) {
  return word(`live.refused.${code}`);
}

/** Speed, memory and time left, those that are known. */
export function figures(state) {
  const found = [];
  if (state.fps) found.push(`${state.fps.toFixed(state.fps < 10 ? 1 : 0)} FPS`);
  if (state.kv_bytes) found.push(`KV ${byteSize(state.kv_bytes)}`);
  if (state.seconds_left !== null && state.status === "running") {
    found.push(word("live.time_left", { time: clockTime(Math.ceil(state.seconds_left)) }));
  }
  return found;
}
