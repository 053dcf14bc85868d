// Where the cut-out lies on the photo.

import { outdated, placed, state } from "./state.js";

const LEAST = 0.02;
const MOST = 2;
/** At least this much of the cut-out stays on the photo, in its pixels. */
const REMAINS = 8;

/** Half as high as the photo, in its lower middle: where pasted things usually stand. */
export function placeAtFirst() {
  const { background, cutout } = state.pictures;
  if (!background || !cutout) return;
  const scale = Math.min((background.height * 0.6) / cutout.height, (background.width * 0.6) / cutout.width);
  state.placement = {
    x: Math.round((background.width - cutout.width * scale) / 2),
    y: Math.round(background.height - cutout.height * scale),
    scale,
    flip: false,
  };
}

/** Change some of the placement; the rest of it follows so that the cut-out stays on the photo. */
export function place(change) {
  const cutout = placed();
  if (!cutout) return;
  const { background } = state.pictures;
  const next = { ...state.placement, ...change };
  next.scale = inRange(next.scale);
  const width = cutout.width * next.scale;
  const height = cutout.height * next.scale;
  next.x = Math.round(Math.min(background.width - REMAINS, Math.max(REMAINS - width, next.x)));
  next.y = Math.round(Math.min(background.height - REMAINS, Math.max(REMAINS - height, next.y)));
  state.placement = next;
  outdated();
}

/** Scale by a factor about a point of the photo, which stays under the same point of the cut-out. */
export function scaleAbout(factor, px, py, from = state.placement) {
  const scale = inRange(from.scale * factor);
  const real = scale / from.scale;
  place({ scale, x: px - (px - from.x) * real, y: py - (py - from.y) * real });
}

function inRange(scale) {
  const unit = state.pictures.background.height / placed().height;
  return Math.min(MOST * unit, Math.max(LEAST * unit, scale));
}

export function move(dx, dy) {
  place({ x: state.placement.x + dx, y: state.placement.y + dy });
}

export function centreOnPhoto() {
  const { width, height } = box();
  const { background } = state.pictures;
  place({ x: (background.width - width) / 2, y: (background.height - height) / 2 });
}

/** The cut-out's rectangle on the photo. */
export function box() {
  const cutout = placed();
  const { x, y, scale } = state.placement;
  return { x, y, width: cutout.width * scale, height: cutout.height * scale };
}

/** Height of the cut-out as a share of the photo's. */
export function sizeShare() {
  return box().height / state.pictures.background.height;
}

/** Give it another height, as a share of the photo's, about its own middle. */
export function resize(share) {
  const cutout = placed();
  const { x, y, width, height } = box();
  const scale = inRange((share * state.pictures.background.height) / cutout.height);
  place({ scale, x: x + (width - cutout.width * scale) / 2, y: y + (height - cutout.height * scale) / 2 });
}

/** A point of the photo in pixels of the cut-out, unflipped: what strokes on a cut-out are measured in. */
export function toCutout(px, py) {
  const { x, y, scale, flip } = state.placement;
  const across = (px - x) / scale;
  return [flip ? placed().width - across : across, (py - y) / scale];
}
