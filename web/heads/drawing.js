// The picture of a map: a cell a head, coloured by role and shaded by mass as core/heads/heat_map.py does, or by what
// has changed against another map.

import { word } from "../common/words.js";
import { changeShade, css, inkOn, mix, shade } from "./colours.js";
import { Grid } from "./grid.js";
import { countRoles } from "./roles.js";

const NUMBERED = { width: 26, height: 16 }; // cells at least as large have numbers
const FADED = 0.3; // heads of the same role in a comparison
const FONT = "system-ui, sans-serif";

/** Colour of each head, and number in its cell in per cent, by role and mass. */
export function roleCells(theme, { masses, roles }) {
  const used = (head) => masses[3 * head + roles[head]]; // the bin that the role uses bears its number
  const most = countRoles(roles).map(() => 0);
  for (const [head, role] of roles.entries()) most[role] = Math.max(most[role], used(head));
  return (head) => {
    const role = roles[head];
    return { colour: shade(theme, role, most[role] ? used(head) / most[role] : 0), number: percent(used(head)) };
  };
}

/** The same for a difference: how the mass on the own chunk has changed; strong where the role has, too. */
export function changeCells(theme, { ownChunk, most }, here, there) {
  return (head) => {
    const full = changeShade(theme, most ? ownChunk[head] / most : 0);
    const marked = here[head] !== there[head];
    return { colour: marked ? full : mix(theme.paper, full, FADED), number: signed(ownChunk[head]), marked };
  };
}

/** cells: head -> { colour, number, marked }; forced: Map; hovered, focused: head or null. */
export function drawMap(canvas, theme, grid, { cells, forced, hovered, focused }) {
  const draw = begin(canvas);
  drawAxes(draw, theme, grid);
  for (let head = 0; head < grid.layers * grid.heads; head++) {
    const { colour, number, marked } = cells(head);
    const cell = grid.cell(head);
    draw.fillStyle = css(colour);
    draw.fillRect(...cell);
    if (grid.width >= NUMBERED.width && grid.height >= NUMBERED.height) writeNumber(draw, cell, number, colour);
    if (marked) outline(draw, cell, css(theme.ink), Math.min(2, cell[2] / 4), 0);
    if (forced.has(head)) drawForced(draw, cell, colour);
  }
  if (hovered !== null) outline(draw, grid.cell(hovered), css(theme.ink), 1.5, 1, grid.width >= 12 ? [3, 2] : []);
  if (focused !== null) outline(draw, grid.cell(focused), theme.accent, 2, 1);
}

/** A drawing context in CSS pixels on a clean canvas, as fine as the screen and ComfyUI's zoom need it. */
export function begin(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const zoom = canvas.getBoundingClientRect().width / width || 1;
  const ratio = Math.min(4, (globalThis.devicePixelRatio || 1) * Math.max(1, zoom));
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const draw = canvas.getContext("2d");
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.clearRect(0, 0, width, height);
  return draw;
}

function drawAxes(draw, theme, grid) {
  draw.fillStyle = theme.faint;
  draw.font = `10px ${FONT}`;
  draw.textBaseline = "middle";
  draw.textAlign = "right";
  for (const layer of Grid.labels(grid.layers, 1.4 * grid.height)) {
    draw.fillText(layer, grid.left - 4, grid.top + (layer + 0.5) * grid.height);
  }
  draw.textAlign = "center";
  for (const head of Grid.labels(grid.heads, grid.width)) {
    draw.fillText(head, grid.left + (head + 0.5) * grid.width, grid.bottom + 7);
  }
  draw.fillText(word("heads.axis_heads"), (grid.left + grid.right) / 2, grid.bottom + 19);
  draw.save();
  draw.translate(grid.left - 24, (grid.top + grid.bottom) / 2);
  draw.rotate(-Math.PI / 2);
  draw.fillText(word("heads.axis_layers"), 0, 0);
  draw.restore();
}

function writeNumber(draw, [x, y, width, height], text, colour) {
  draw.fillStyle = inkOn(colour);
  draw.font = `${Math.min(13, Math.floor(height * 0.5), Math.floor(width / 2.6))}px ${FONT}`;
  draw.textAlign = "center";
  draw.textBaseline = "middle";
  draw.fillText(text, x + width / 2, y + height / 2);
}

/** A dot: in the corner of a cell that has room, else in its middle. */
function drawForced(draw, [x, y, width, height], colour) {
  const least = Math.min(width, height);
  const radius = Math.max(1.25, Math.min(4, least / 6));
  const inset = least >= 15 ? radius + 3 : null;
  draw.beginPath();
  draw.arc(inset ? x + width - inset : x + width / 2, inset ? y + inset : y + height / 2, radius, 0, 2 * Math.PI);
  draw.fillStyle = inkOn(colour);
  draw.fill();
}

function outline(draw, [x, y, width, height], colour, line, outside, dashes = []) {
  const shift = outside - line / 2;
  draw.strokeStyle = colour;
  draw.lineWidth = line;
  draw.setLineDash(dashes);
  draw.strokeRect(x - shift, y - shift, width + 2 * shift, height + 2 * shift);
}

const percent = (mass) => (100 * mass).toFixed(0);

function signed(change) {
  const rounded = Math.round(100 * change);
  return `${["−", "", "+"][Math.sign(rounded) + 1]}${Math.abs(rounded)}`;
}
