// A head map as the server sends it, checked: see web/PROTOCOL.md. What is drawn from it then needs no more checks.

const MOST_HEADS = 65536;
const ORIGINS = ["measured", "profile", "video", "saved"];
const COSTS = ["normalised", "paper"];

/**
 * The map with its tables flat, one head after the other: `masses` three numbers each, `roles` one, and its shape in
 * `layers` and `heads`. Throws a TypeError where something is missing or of the wrong kind.
 */
export function readMap(raw) {
  const layers = table(raw?.roles, "roles");
  const heads = table(layers[0], "roles").length;
  check(layers.length * heads > 0 && layers.length * heads <= MOST_HEADS, "roles");
  check(table(raw.masses, "masses").length === layers.length, "masses");
  const roles = layers.flatMap((row) => (check(row?.length === heads, "roles"), row));
  const masses = raw.masses.flatMap((row) => (check(row?.length === heads, "masses"), row));
  check(roles.every((role) => [0, 1, 2].includes(role)), "roles");
  check(masses.every((three) => three?.length === 3 && three.every(isShare)), "masses");
  check(typeof raw.id === "string" && Number.isFinite(raw.made) && Number.isFinite(raw.served) && typeof raw.name === "string", "name");
  check(ORIGINS.includes(raw.origin), "origin");
  checkSettings(raw.settings);
  checkCosts(raw.costs);
  return {
    ...raw,
    layers: layers.length,
    heads,
    roles: Uint8Array.from(roles),
    masses: Float64Array.from(masses.flat()),
  };
}

export const sameShape = (one, other) => one.layers === other.layers && one.heads === other.heads;

function checkSettings(settings) {
  check(isShare(settings?.dummy_ratio) && COSTS.includes(settings.cost), "settings");
  check([settings.forced_roles, settings.inherited_roles].every((text) => typeof text === "string"), "settings");
  check(settings.packed_frames >= 0, "settings");
  check(settings.local_context === null || settings.local_context >= 1, "settings");
}

function checkCosts(costs) {
  check(costs?.chunk_frames >= 1 && costs.latent_frames >= costs.chunk_frames, "costs");
  check(costs.fixed_flops >= 0 && costs.flops_per_key_frame > 0, "costs");
}

const isShare = (value) => typeof value === "number" && value >= 0 && value <= 1;

function table(value, name) {
  check(Array.isArray(value), name);
  return value;
}

function check(valid, name) {
  if (!valid) throw new TypeError(`a head map whose ${name} cannot be read`);
}
