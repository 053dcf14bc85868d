// Mouse, pen and touch on the stage. One pointer places, paints or pans; two pinch.

import { endStroke, extendStroke, startStroke } from "./brush.js";
import { HANDLE } from "./painter.js";
import { box, place, scaleAbout } from "./placement.js";
import { cursor, onCanvas, redraw, setSplit, splitAt, stage, zoom, zoomFit, zoomFull } from "./stage.js";
import { base, placed, state } from "./state.js";
import { pan, toCanvas, toPicture, view, zoomTo } from "./view.js";

/** Pointers that are down, by id: their place on the canvas. */
const down = new Map();
/** What the pointers do: {kind, ...}; null when nothing. */
let gesture = null;

export function listenToPointers() {
  stage.addEventListener("pointerdown", begin);
  stage.addEventListener("pointermove", follow);
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  stage.addEventListener("pointerleave", () => {
    if (down.size === 0 && document.activeElement !== stage) cursor.point = null;
    redraw();
  });
  stage.addEventListener("dblclick", (event) => {
    if (state.tool === "brush") return;
    if (view.fitted) zoomFull(...onCanvas(event));
    else zoomFit();
  });
  stage.addEventListener("wheel", turnWheel, { passive: false });
}

function begin(event) {
  if (event.button > 1) return;
  const at = onCanvas(event);
  stage.setPointerCapture(event.pointerId);
  down.set(event.pointerId, at);
  if (down.size === 2) {
    if (gesture?.kind === "paint") endStroke(true);
    gesture = pinch();
  } else if (down.size === 1) {
    gesture = event.button === 1 ? { kind: "pan" } : single(at);
  }
  showCursor(at);
}

/** What one pointer that goes down here will do. */
function single(at) {
  const point = toPicture(...at);
  if (state.tool === "brush") {
    cursor.point = point;
    startStroke(point);
    return { kind: "paint" };
  }
  if (state.tool === "place" && placed()) {
    const { x, y, width, height } = box();
    const corner = cornerAt(at);
    const start = { ...state.placement };
    if (corner) {
      const anchor = [corner.right ? x : x + width, corner.bottom ? y : y + height];
      return { kind: "scale", start, anchor, reach: distance(point, anchor) };
    }
    if (isOver(point)) return { kind: "move", start, point };
  }
  if (state.tool === "compare" && state.result && view.fitted) {
    setSplit(splitAt(at[0]));
    return { kind: "split" };
  }
  return { kind: "pan" };
}

function pinch() {
  const [a, b] = [...down.values()];
  const middle = between(a, b);
  const start = { ...state.placement };
  const onCutout = state.tool === "place" && placed() && [a, b, middle].some((at) => isOver(toPicture(...at)));
  return { kind: onCutout ? "pinch-cutout" : "pinch-view", start, reach: distance(a, b), middle, point: toPicture(...middle), scale: view.scale };
}

function follow(event) {
  const at = onCanvas(event);
  if (!down.has(event.pointerId)) {
    hover(at);
    return;
  }
  const before = down.get(event.pointerId);
  down.set(event.pointerId, at);
  const point = toPicture(...at);
  switch (gesture?.kind) {
    case "paint":
      cursor.point = point;
      for (const each of event.getCoalescedEvents?.() ?? [event]) extendStroke(toPicture(...onCanvas(each)));
      break;
    case "move":
      place({ x: gesture.start.x + point[0] - gesture.point[0], y: gesture.start.y + point[1] - gesture.point[1] });
      break;
    case "scale":
      scaleAbout(Math.max(0.01, distance(point, gesture.anchor) / gesture.reach), ...gesture.anchor, gesture.start);
      break;
    case "split":
      setSplit(splitAt(at[0]));
      break;
    case "pan":
      pan(base(), at[0] - before[0], at[1] - before[1]);
      redraw();
      break;
    case "pinch-cutout":
    case "pinch-view":
      followPinch();
      break;
    default:
  }
}

function followPinch() {
  const [a, b] = [...down.values()];
  const middle = between(a, b);
  const factor = distance(a, b) / gesture.reach;
  if (gesture.kind === "pinch-cutout") {
    const [x, y] = toPicture(...middle);
    const [dx, dy] = [x - gesture.point[0], y - gesture.point[1]];
    const start = { ...gesture.start, x: gesture.start.x + dx, y: gesture.start.y + dy };
    scaleAbout(factor, x, y, start);
    return;
  }
  zoomTo(base(), gesture.scale * factor, ...middle);
  const [x, y] = toCanvas(...gesture.point);
  pan(base(), middle[0] - x, middle[1] - y);
  redraw();
}

function end(event) {
  down.delete(event.pointerId);
  if (gesture?.kind === "paint") endStroke(event.type === "pointercancel");
  gesture = down.size === 1 && gesture?.kind.startsWith("pinch") ? { kind: "pan" } : null;
  if (event.pointerType !== "mouse") cursor.point = null;
  showCursor(onCanvas(event));
  redraw();
}

function hover(at) {
  if (state.tool === "brush") {
    cursor.point = toPicture(...at);
    redraw();
  }
  showCursor(at);
}

function turnWheel(event) {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), ...onCanvas(event));
}

/** The shape of the mouse pointer says what pressing it would do. */
function showCursor(at) {
  let shape = "";
  if (gesture?.kind === "pan") shape = "grabbing";
  else if (state.tool === "place" && placed()) {
    const corner = cornerAt(at);
    if (corner) shape = corner.right === corner.bottom ? "nwse" : "nesw";
    else if (isOver(toPicture(...at))) shape = "move";
  }
  stage.dataset.cursor = shape;
}

/** The corner of the cut-out's frame under a point of the canvas. */
function cornerAt(at) {
  const { x, y, width, height } = box();
  for (const bottom of [true, false]) {
    for (const right of [true, false]) {
      const corner = toCanvas(x + (right ? width : 0), y + (bottom ? height : 0));
      if (distance(at, corner) <= HANDLE * view.ratio) return { right, bottom };
    }
  }
  return null;
}

function isOver([px, py]) {
  const { x, y, width, height } = box();
  return px >= x && px <= x + width && py >= y && py <= y + height;
}

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const between = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
