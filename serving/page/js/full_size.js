// What is sent, at full size: the composite and its mask. Files that nothing changed are sent as they came, so that
// their depth, profile and metadata reach the server.

import { offload } from "./offload.js";
import { maskSource, state } from "./state.js";

/**
 * @returns {Promise<{composite: Blob, compositeName: string, mask: Blob | null, invert: boolean, fit: boolean}>}
 */
export async function fullSize() {
  return state.way === "place" ? placedPair() : givenPair();
}

async function placedPair() {
  const { background, cutout } = state.pictures;
  const { file, hasAlpha } = background;
  const made = await offload("pasted", { file, hasAlpha }, cutout.file, state.strokes.place, state.placement);
  return { ...made, compositeName: `${background.stem}.png`, invert: false, fit: false };
}

async function givenPair() {
  const { composite, mask } = state.pictures;
  const strokes = state.strokes.mask;
  const sent = { composite: composite.file, compositeName: composite.name };
  if (strokes.length === 0) {
    return { ...sent, mask: mask?.file ?? null, invert: state.invert, fit: state.fit };
  }
  const { width, height } = composite;
  const png = await offload("mendedMask", maskSource()?.file ?? null, width, height, state.invert, strokes);
  return { ...sent, mask: png, invert: false, fit: false };
}
