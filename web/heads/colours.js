// Colours of roles, and of changes, on the theme's background. Those of roles are core/heads/roles.py's, and lighter
// ones of the same hues on a dark background: grey never takes on a hue, so that shades of the three stay apart.

const ROLES = { light: ["#0072B2", "#D98200", "#4A4A4A"], dark: ["#2C90D9", "#E8A02C", "#8C8C8C"] };
const CHANGES = { light: ["#009E73", "#B5478F"], dark: ["#1FB58A", "#D97BB6"] }; // less, more
const known = new Map(); // channels by colour
const PALEST = 0.28; // never so pale that the role is lost

/** The theme at an element, whose background and text it has: `paper` and `ink` as [r, g, b], colours of roles. */
export function themeOf(element) {
  const style = getComputedStyle(element);
  const [paper, ink] = [style.backgroundColor, style.color].map(channels);
  const kind = luma(paper) > 128 ? "light" : "dark";
  return {
    paper,
    ink,
    faint: css(mix(paper, ink, 0.65)),
    roles: ROLES[kind].map(channels),
    less: channels(CHANGES[kind][0]),
    more: channels(CHANGES[kind][1]),
    accent: style.getPropertyValue("--dummy-forcing-accent"),
  };
}

/** A role's colour at `strength` 0..1. */
export function shade(theme, role, strength) {
  return mix(theme.paper, theme.roles[role], PALEST + (1 - PALEST) * strength);
}

/** The colour of a change from -1 to 1; none is the background's, lifted a little. */
export function changeShade(theme, change) {
  const none = mix(theme.paper, theme.ink, 0.12);
  return mix(none, change < 0 ? theme.less : theme.more, Math.abs(change));
}

/** Black or white, whichever can be read on a colour. */
export const inkOn = (colour) => (luma(colour) > 140 ? "#111" : "#fff");

export const css = ([red, green, blue]) => `rgb(${red}, ${green}, ${blue})`;

export const mix = (from, to, part) => from.map((channel, index) => Math.round(channel + (to[index] - channel) * part));

const luma = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue;

/** The channels of any colour that CSS knows. */
function channels(colour) {
  if (!known.has(colour)) known.set(colour, measure(colour));
  return known.get(colour);
}

function measure(colour) {
  const draw = new OffscreenCanvas(1, 1).getContext("2d");
  draw.fillStyle = colour;
  draw.fillRect(0, 0, 1, 1);
  return [...draw.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}
