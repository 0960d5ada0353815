import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { useWords } from "../../web/common/words.js";
import { curvePoints, frameAt, pathOf, psnrRange, ssimRange } from "../../web/compare/curve.js";
import { costRows, noteText, psnrText, ratioText, ssimText } from "../../web/compare/figures.js";

beforeEach(() => useWords(JSON.parse(readFileSync("locales/en/main.json", "utf8")).dummyForcing));

test("the axis of a PSNR curve takes whole steps around what is finite", () => {
  assert.deepEqual(psnrRange([23.4, 31]), [20, 40]);
  assert.deepEqual(psnrRange([20, null]), [20, 30]);
  assert.deepEqual(psnrRange([null]), [0, 10]);
  assert.deepEqual(psnrRange([]), [0, 10]);
});

test("the axis of an SSIM curve ends at 1 and has room below the least", () => {
  assert.deepEqual(ssimRange([0.95, 1]), [0.9, 1]);
  assert.deepEqual(ssimRange([0.42]), [0.4, 1]);
  assert.deepEqual(ssimRange([-0.25, 1]), [-0.3, 1]);
  assert.deepEqual(ssimRange([]), [0.9, 1]);
});

test("a curve reaches from its first frame to the last compared", () => {
  const points = curvePoints([20, 30, null], [20, 40], 2, 5, 8); // frames 0-1, 2-3 and 4 of 8
  assert.deepEqual(points, [[0, 1], [0.125, 1], [0.375, 0.5], [0.5625, 0], [0.625, 0]]);
  assert.deepEqual(curvePoints([0.5], [0, 1], 1, 1, 1), [[0, 0.5], [0.5, 0.5], [1, 0.5]]);
  assert.deepEqual(curvePoints([], [0, 1], 1, 0, 10), []);
});

test("the path is the curve, or what lies under it", () => {
  assert.equal(pathOf([[0, 1], [0.5, 0]]), "M0.00 100.00L50.00 0.00");
  assert.equal(pathOf([[0, 1], [0.5, 0]], true), "M0.00 100.00L50.00 0.00L50.00 100.00L0.00 100.00Z");
  assert.equal(pathOf([]), "");
});

test("a place on the axis is a frame that was compared", () => {
  assert.deepEqual([0, 0.049, 0.05, 0.5, 1, -1, 2].map((share) => frameAt(share, 15, 20)), [0, 0, 1, 10, 14, 0, 14]);
});

test("equal frames have a word, not a number", () => {
  assert.equal(psnrText(null), "equal");
  assert.equal(psnrText(23.456), "23.5 dB");
  assert.deepEqual([1, 0.99876, 0.87654].map(ssimText), ["1.000", "0.9988", "0.877"]);
});

test("bars are shares of the larger value, with b as a multiple of a", () => {
  const rows = costRows({ dit_fps: [4, 10], kv_peak_bytes: [4 * 2 ** 20, 2 ** 20], seconds: [90, 59] });
  assert.deepEqual(rows.map(({ name, ratio }) => [name, ratio]), [["dit_fps", "× 2.50"], ["kv_peak_bytes", "× 0.25"], ["seconds", "× 0.66"]]);
  assert.deepEqual(rows[0].bars, [{ share: 0.4, text: "4.00 FPS" }, { share: 1, text: "10.0 FPS" }]);
  assert.deepEqual(rows[1].bars.map(({ text }) => text), ["4.0 MiB", "1.0 MiB"]);
  assert.deepEqual(rows[2].bars.map(({ text }) => text), ["1:30", "59.0 s"]);
});

test("of one run there is one bar and no ratio; of none there is nothing", () => {
  assert.deepEqual(costRows({ dit_fps: [null, 10] }), [{ name: "dit_fps", bars: [null, { share: 1, text: "10.0 FPS" }], ratio: "" }]);
  assert.deepEqual(costRows({}), []);
  assert.equal(costRows({ dit_fps: [0, 10] })[0].ratio, "");
});

test("a ratio shows what counts", () => {
  assert.deepEqual([0.2734, 1, 12.34].map(ratioText), ["× 0.27", "× 1.00", "× 12.3"]);
});

test("notes are worded here", () => {
  assert.equal(noteText({ code: "goes_on", label: "dense" }), "dense goes on after the last frame of the other");
  assert.equal(noteText({ code: "scaled", label: "B", before: "8 x 8", after: "16 x 16" }), "B was scaled from 8 x 8 to 16 x 16 pixels");
});
