import assert from "node:assert/strict";
import { test } from "node:test";
import { chunkMarks, frameOf } from "../../web/live/marks.js";
import { Timeline, promptAt } from "../../web/live/timeline.js";

const RUNS = [[1, 9], [3, 12], [1, 4]];

test("every frame is in one chunk, in order", () => {
  const timeline = new Timeline(RUNS);
  const expected = RUNS.flatMap(([chunks, frames]) => Array(chunks).fill(frames)).flatMap((frames, chunk) =>
    Array.from({ length: frames }, (_, index) => ({ chunk, index })),
  );
  assert.equal(timeline.frames, 49);
  assert.equal(timeline.chunks, 5);
  assert.deepEqual(Array.from({ length: timeline.frames }, (_, frame) => timeline.locate(frame)), expected);
  assert.equal(timeline.locate(49), null);
  assert.equal(timeline.locate(-1), null);
});

test("chunks begin where the one before ends", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((chunk) => new Timeline(RUNS).start(chunk)), [0, 9, 21, 33, 45, 49]);
});

test("live is the newest chunk", () => {
  assert.equal(new Timeline(RUNS).edge, 45);
  assert.equal(new Timeline().edge, 0);
});

test("frames that the server has dropped cannot be reached", () => {
  const timeline = new Timeline(RUNS, 2);
  assert.equal(timeline.firstFrame, 21);
  assert.deepEqual([-3, 0, 21, 30.4, 48, 1000].map((frame) => timeline.clamp(frame)), [21, 21, 21, 30, 48, 48]);
});

test("an empty timeline has frame 0 to stand on", () => assert.equal(new Timeline().clamp(5), 0));

test("the prompt at a chunk is that of the last mark", () => {
  const marks = [{ chunk: 0, text: "one" }, { chunk: 4, text: "two" }];
  assert.deepEqual([0, 3, 4, 9].map((chunk) => promptAt(marks, chunk)), ["one", "one", "two", "two"]);
  assert.equal(promptAt([], 3), "");
  assert.equal(promptAt([...marks, { chunk: 5, text: null }], 5), null); // a text that the server does not know
});

test("thousands of chunks give marks that can be told apart", () => {
  const timeline = new Timeline([[1, 9], [4799, 12]]);
  const marks = chunkMarks(timeline, timeline.frames, 300);
  assert.ok(marks.length > 20 && marks.length <= 75);
  assert.deepEqual(chunkMarks(new Timeline(RUNS), 49, 300), [9, 21, 33, 45]);
});

test("a prompt of a chunk still to be made stands where that will be", () => {
  const state = { chunks: 7, frames: 81 };
  const timeline = new Timeline([[1, 9], [2, 12]]);
  assert.deepEqual([1, 3, 5, 7].map((chunk) => frameOf(timeline, state, chunk)), [9, 33, 57, 81]);
});
