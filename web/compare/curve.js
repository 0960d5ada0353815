// A curve of quality over time, as numbers: where it begins and ends, where its points lie, what is under a place.

const PSNR_STEP = 10; // dB
const SSIM_STEP = 0.1;

/** From where to where the axis of a PSNR curve goes: whole steps around what is finite. */
export function psnrRange(values) {
  const finite = values.filter((value) => value !== null);
  if (!finite.length) return [0, PSNR_STEP];
  const low = Math.max(0, Math.floor(Math.min(...finite) / PSNR_STEP) * PSNR_STEP);
  return [low, Math.max(low + PSNR_STEP, Math.ceil(Math.max(...finite) / PSNR_STEP) * PSNR_STEP)];
}

/** The same for SSIM, whose best is 1. */
export function ssimRange(values) {
  const low = Math.floor(Math.min(...values, 1 - SSIM_STEP) / SSIM_STEP) * SSIM_STEP;
  return [Number(low.toFixed(1)), 1];
}

/**
 * Points [x, y] in a square of 1 x 1 whose y points down; `frames` is the length of the axis. Each value stands in the
 * middle of its frames, the first and the last reach to the ends. Null, which is infinite, lies on the upper edge.
 */
export function curvePoints(values, [low, high], pointFrames, compared, frames) {
  if (!values.length) return [];
  const y = (value) => (value === null ? 0 : 1 - Math.min(1, Math.max(0, (value - low) / (high - low))));
  const x = (frame) => Math.min(frame, compared) / frames;
  const inside = values.map((value, index) => [(x(index * pointFrames) + x((index + 1) * pointFrames)) / 2, y(value)]);
  return [[0, inside[0][1]], ...inside, [x(compared), inside.at(-1)[1]]];
}

/** The points as an SVG path in a square of 100 x 100; `closed` down to the axis. */
export function pathOf(points, closed = false) {
  if (!points.length) return "";
  const at = ([x, y]) => `${(100 * x).toFixed(2)} ${(100 * y).toFixed(2)}`;
  const line = `M${points.map(at).join("L")}`;
  return closed ? `${line}L${at([points.at(-1)[0], 1])}L${at([0, 1])}Z` : line;
}

/** The frame at a share of the axis, of those compared. */
export function frameAt(share, compared, frames) {
  return Math.max(0, Math.min(compared - 1, Math.floor(share * frames)));
}
