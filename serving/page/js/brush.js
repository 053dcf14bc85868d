// The brush: strokes that mend the mask of a composite, or the cut-out itself.

import { toCutout } from "./placement.js";
import { base, outdated, placed, state } from "./state.js";
import { view } from "./view.js";

let open = null;

/** The stroke that is being painted, or null. */
export function openStroke() {
  return open;
}

/** Whether there is something to paint on. */
function paintable() {
  return state.way === "mask" ? base() : placed();
}

/** Begin a stroke at a point of the picture. */
export function startStroke(point) {
  if (!paintable()) return;
  const unit = state.way === "place" ? state.placement.scale : 1;
  // The brush's size is what one sees: CSS pixels of the screen.
  const radius = ((state.brush.size / 2) * view.ratio) / view.scale / unit;
  open = { erase: state.brush.erase, radius, points: [own(point)] };
  state.strokes[state.way] = [...state.strokes[state.way], open];
  outdated();
}

export function extendStroke(point) {
  if (!open) return;
  const next = own(point);
  const last = open.points.at(-1);
  if (Math.hypot(next[0] - last[0], next[1] - last[1]) < open.radius / 8) return;
  open.points.push(next);
  outdated();
}

/** @param {boolean} discard the pointer was taken away: it was no stroke */
export function endStroke(discard = false) {
  if (open && discard) state.strokes[state.way] = state.strokes[state.way].filter((stroke) => stroke !== open);
  open = null;
  outdated();
}

/** A dab, or with a second point a short stroke: the brush by keyboard. */
export function dab(from, to = null) {
  startStroke(from);
  if (to) extendStroke(to);
  endStroke();
}

export function undo() {
  state.strokes[state.way] = state.strokes[state.way].slice(0, -1);
  outdated();
}

export function undoAll() {
  state.strokes[state.way] = [];
  outdated();
}

/** A point of the picture in the pixels that strokes are measured in: the cut-out's own, so that they move with it. */
function own(point) {
  return state.way === "place" ? toCutout(...point) : point;
}
