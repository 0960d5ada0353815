// The timeline behind the slider: what is there, where chunks and prompts begin. Drawn, for chunks may be thousands.

const LEAST_GAP = 4; // pixels between chunk marks; closer ones are left out

export function drawMarks(canvas, timeline, state, shown) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  const [pixelsWide, pixelsHigh] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixelsWide || canvas.height !== pixelsHigh) [canvas.width, canvas.height] = [pixelsWide, pixelsHigh];
  const draw = canvas.getContext("2d");
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.clearRect(0, 0, width, height);
  const colour = coloursOf(canvas);
  const end = Math.max((state.status === "running" && state.frames) || timeline.frames, 1);
  const x = (frame) => (frame / end) * width;
  const bar = (from, to, style) => {
    draw.fillStyle = style;
    draw.fillRect(x(from), height / 2 - 3, x(to) - x(from), 6);
  };
  bar(0, end, colour.rest);
  bar(timeline.firstFrame, timeline.frames, colour.made);
  if (shown > timeline.firstFrame) bar(timeline.firstFrame, shown + 1, colour.played);
  draw.fillStyle = colour.mark;
  for (const frame of chunkMarks(timeline, end, width)) draw.fillRect(x(frame) - 0.5, height / 2 - 3, 1, 6);
  draw.fillStyle = colour.prompt;
  for (const { chunk } of state.prompts) if (chunk) draw.fillRect(x(frameOf(timeline, state, chunk)) - 1, 1, 2, height - 2);
}

/** First frames of the chunks to mark, far enough apart to be told apart. */
export function chunkMarks(timeline, end, width) {
  const marks = [];
  const step = Math.max(1, Math.ceil((LEAST_GAP * end) / width / (timeline.frames / timeline.chunks || 1)));
  for (let chunk = step; chunk < timeline.chunks; chunk += step) marks.push(timeline.start(chunk));
  return marks;
}

/** Where a chunk begins or, of one still to be made, is going to begin. */
export function frameOf(timeline, state, chunk) {
  if (chunk <= timeline.chunks) return timeline.start(chunk);
  if (!state.chunks || !state.frames || state.chunks <= timeline.chunks) return timeline.frames;
  const frames = (state.frames - timeline.frames) / (state.chunks - timeline.chunks);
  return timeline.frames + (chunk - timeline.chunks) * frames;
}

function coloursOf(canvas) {
  const style = getComputedStyle(canvas);
  const of = (name, other) => style.getPropertyValue(name).trim() || other;
  return {
    rest: of("--dummy-forcing-rest", "#333"),
    made: of("--dummy-forcing-made", "#666"),
    played: of("--dummy-forcing-played", "#999"),
    mark: of("--dummy-forcing-mark", "#222"),
    prompt: of("--dummy-forcing-accent", "#4a9"),
  };
}
