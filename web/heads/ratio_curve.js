// The curve behind the slider: the attention kept over the share of dummies.

import { css, mix } from "./colours.js";
import { begin } from "./drawing.js";

const INSET = 2; // half the slider's thumb, which stays inside of the track

/** curve: the retained mass for 0 to all heads; ratio: where the slider stands. */
export function drawCurve(canvas, theme, curve, ratio) {
  const draw = begin(canvas);
  const [width, height] = [canvas.clientWidth - 2 * INSET, canvas.clientHeight];
  const [lowest, highest] = [Math.min(...curve), Math.max(...curve)];
  const x = (part) => INSET + part * width;
  const y = (kept) => 3 + ((highest - kept) / (highest - lowest || 1)) * (height - 6);
  const path = new Path2D();
  for (const [dummies, kept] of curve.entries()) path.lineTo(x(dummies / (curve.length - 1)), y(kept));
  const area = new Path2D(path);
  area.lineTo(x(1), height);
  area.lineTo(x(0), height);
  draw.fillStyle = css(mix(theme.paper, theme.ink, 0.12));
  draw.fill(area);
  draw.save();
  draw.beginPath();
  draw.rect(0, 0, x(ratio), height);
  draw.clip();
  draw.fillStyle = css(mix(theme.paper, theme.roles[2], 0.55));
  draw.fill(area);
  draw.restore();
  draw.strokeStyle = css(mix(theme.paper, theme.ink, 0.6));
  draw.lineWidth = 1.5;
  draw.stroke(path);
}
