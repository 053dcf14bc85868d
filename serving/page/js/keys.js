// The stage by keyboard. What the keys do stands below it, for everybody.

import { dab, undo } from "./brush.js";
import { box, move, place, resize, sizeShare } from "./placement.js";
import { announce, cursor, redraw, stage, zoom, zoomFit, zoomFull } from "./stage.js";
import { base, changed, placed, state } from "./state.js";
import { pan, toPicture, view } from "./view.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SIZE_STEP = 1.05;

/** What one does on the stage: by pointer, and by keyboard. */
export const HELP = {
  place: ["Drag to place; drag a corner, or pinch, to size.", "Keys: arrows move, with Shift further; + and − size, F flips."],
  brush: [
    "Paint to mend the mask.",
    "Keys: arrows move the brush, Shift with arrows paints, Space dabs, X swaps add and erase, [ and ] size.",
  ],
  compare: ["Drag the line between before and after.", "Keys on the picture: arrows pan, + and − zoom, 1 shows 100 %, 0 fits."],
  background: ["Now add a cut-out: a picture with a transparent background.", ""],
};

const percent = (share) => `${Math.round(share * 100)} %`;

/** Where things are after a key, in words. */
const SAID = {
  place: () => (placed() ? `Left ${Math.round(box().x)}, top ${Math.round(box().y)}, size ${percent(sizeShare())}` : ""),
  brush: () => {
    const [x, y] = brushPoint();
    const { width, height } = base();
    const kind = state.brush.erase ? "erases" : "adds";
    return `Brush ${state.brush.size} pixels, ${kind}, at ${percent(x / width)} from the left, ${percent(y / height)} from the top`;
  },
  compare: () => `Zoom ${percent(view.scale)}`,
};

export function listenToKeys() {
  stage.addEventListener("keydown", (event) => {
    if (!base() || event.altKey || event.metaKey) return;
    if (event.ctrlKey) {
      if (event.key === "z") done(event, undo);
      return;
    }
    const act = { place: placeKey, brush: brushKey, compare: compareKey }[state.tool](event);
    if (!act) return;
    done(event, act);
    announce(SAID[state.tool]);
  });
  stage.addEventListener("focus", () => {
    if (state.tool !== "brush" || !stage.matches(":focus-visible")) return;
    cursor.point ??= toPicture(view.width / 2, view.height / 2);
    redraw();
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && state.tool === "brush" && !isText(event.target)) done(event, undo);
  });
}

function done(event, act) {
  event.preventDefault();
  event.stopPropagation();
  act();
}

const isText = (element) => element.matches?.("input:not([type=range], [type=radio], [type=checkbox]), select");

function placeKey({ key, shiftKey }) {
  if (!placed()) return compareKey({ key, shiftKey });
  const arrow = ARROWS[key];
  const step = Math.max(1, Math.round((shiftKey ? 40 : 4) / view.scale));
  if (arrow) return () => move(arrow[0] * step, arrow[1] * step);
  if (key === "+" || key === "=") return () => resize(sizeShare() * SIZE_STEP);
  if (key === "-") return () => resize(sizeShare() / SIZE_STEP);
  if (key === "f" || key === "F") return () => place({ flip: !state.placement.flip });
  return null;
}

function brushKey({ key, shiftKey }) {
  const arrow = ARROWS[key];
  const { brush } = state;
  if (arrow) return () => moveBrush(arrow, shiftKey);
  if (key === " " || key === "Enter") return () => dab(brushPoint());
  if (key === "x" || key === "X") return () => setBrush({ erase: !brush.erase });
  if (key === "[") return () => setBrush({ size: brush.size - 4 });
  if (key === "]") return () => setBrush({ size: brush.size + 4 });
  return null;
}

export function setBrush({ erase = state.brush.erase, size = state.brush.size }) {
  state.brush = { erase, size: Math.min(100, Math.max(1, size)) };
  changed();
}

function brushPoint() {
  cursor.point ??= toPicture(view.width / 2, view.height / 2);
  return cursor.point;
}

function moveBrush([dx, dy], paints) {
  const from = brushPoint();
  const step = (Math.max(4, state.brush.size / 2) * view.ratio) / view.scale;
  const { width, height } = base();
  const within = (value, most) => Math.min(most, Math.max(0, value));
  cursor.point = [within(from[0] + dx * step, width), within(from[1] + dy * step, height)];
  if (paints) dab(from, cursor.point);
  redraw();
}

function compareKey({ key }) {
  const arrow = ARROWS[key];
  const step = 60 * view.ratio;
  if (arrow) {
    return () => {
      pan(base(), -arrow[0] * step, -arrow[1] * step);
      redraw();
    };
  }
  return { "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 1: () => zoomFull(), 0: () => zoomFit() }[key] ?? null;
}
