import assert from "node:assert/strict";
import { test } from "node:test";
import { Playback } from "../../web/live/playback.js";

/** Frames shown on a screen that is refreshed at `times`, and when. */
function run(playback, times, ready = () => true) {
  return times.map((now) => [now, playback.take(now, ready)]).filter(([, frame]) => frame !== null);
}

const every = (step, until) => Array.from({ length: Math.floor(until / step) }, (_, index) => index * step);

test("on a fast screen frames come at their rate, each once", () => {
  const shown = run(new Playback(16), every(1000 / 60, 10_000));
  assert.deepEqual(shown.map(([, frame]) => frame), shown.map((_, index) => index));
  assert.ok(Math.abs(shown.length - 160) <= 1, `${shown.length} frames in 10 s`);
});

test("a slow screen makes the video late and leaves nothing out", () => {
  const shown = run(new Playback(16), every(200, 10_000));
  assert.deepEqual(shown.map(([, frame]) => frame), every(1, 50));
});

test("a frame that is not there is waited for", () => {
  const playback = new Playback(10);
  let made = 2;
  assert.deepEqual(run(playback, every(50, 1000), (frame) => frame < made).map(([, frame]) => frame), [0, 1]);
  made = 4;
  assert.deepEqual(run(playback, [1000, 1050, 1100, 1150], (frame) => frame < made), [[1000, 2], [1100, 3]]);
});

test("pausing holds, seeking shows at once", () => {
  const playback = new Playback(10);
  run(playback, [0]);
  playback.playing = false;
  assert.deepEqual(run(playback, [500, 1000]), []);
  playback.seek(40);
  playback.playing = true;
  assert.deepEqual(run(playback, [1001, 1002, 1101]), [[1001, 40], [1101, 41]]);
});
