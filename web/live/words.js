// Numbers of a stream for people.

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
  const chunks = state.chunks === null ? `chunk ${chunksMade}` : `chunk ${chunksMade}/${state.chunks}`;
  if (state.status === "finished") return "finished";
  const ending = state.status !== "running" ? state.status : state.stopping ? "stopping" : "";
  if (!ending) return chunks;
  return chunksMade ? `${ending} after ${chunks}` : ending;
}

/** Speed, memory and time left, those that are known. */
export function figures(state) {
  const found = [];
  if (state.fps) found.push(`${state.fps.toFixed(state.fps < 10 ? 1 : 0)} FPS`);
  if (state.kv_bytes) found.push(`KV ${byteSize(state.kv_bytes)}`);
  if (state.seconds_left !== null && state.status === "running") found.push(`${clockTime(Math.ceil(state.seconds_left))} left`);
  return found;
}
