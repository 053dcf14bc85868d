// Draws the stage: the picture, the cut-out on it, the mask over it, the answer beside it. Never more than the screen
// needs: previews until somebody zooms in further, then the visible part of the full picture.

import { openStroke } from "./brush.js";
import { cutoutPreview, maskPreview } from "./layers.js";
import { newCanvas } from "./pictures.js";
import { box } from "./placement.js";
import { Sheet, identity } from "./sheets.js";
import { base, placed, state } from "./state.js";
import { drawStroke } from "./strokes.js";
import { toCanvas, view, visibleSpan } from "./view.js";

/** Above so many device pixels for one of the picture, pixels are shown as squares. */
const SQUARES = 4;
const TINT = "#e6267f";
const TINT_SHARE = 0.5;
/** CSS pixels around a corner of the cut-out that belong to it. */
export const HANDLE = 22;
/** A scaled cut-out is kept up to this many times the stage's pixels. */
const MOST_KEPT = 2;

const sheets = { base: new Sheet(), cutout: new Sheet(), answer: new Sheet(), tint: new Sheet() };
/** How much of the open stroke is on the tint already. */
const live = { stroke: null, points: 0 };

/** @param {CanvasRenderingContext2D} context @param {{point: number[] | null}} cursor of the brush, in picture pixels */
export function draw(context, cursor) {
  const picture = base();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  if (!picture) return;
  context.drawImage(sheetOf(sheets.base, picture), 0, 0);
  if (placed()) drawCutout(context);
  if (state.tool === "compare" && state.result) drawAnswer(context, picture);
  if (state.tool === "brush") drawBrush(context, cursor);
  if (state.tool === "place" && placed()) drawFrame(context);
}

const viewKey = () => [view.scale, view.x, view.y].join();

/** @param {boolean} alone nothing lies under it: what is transparent shows checkers */
function sheetOf(sheet, picture, alone = true) {
  return sheet.show(`${identity(picture)},${viewKey()}`, view.width, view.height, (context) => {
    setSmoothing(context);
    if (alone && picture.hasAlpha) checkers(context, view.x, view.y, picture.width * view.scale, picture.height * view.scale);
    drawPicture(context, picture);
  });
}

function setSmoothing(context) {
  context.imageSmoothingEnabled = view.scale < SQUARES;
  context.imageSmoothingQuality = "medium";
}

function drawPicture(context, picture) {
  const width = picture.width * view.scale;
  const height = picture.height * view.scale;
  if (view.scale <= picture.previewScale || picture.preview === picture.bitmap) {
    context.drawImage(picture.preview, view.x, view.y, width, height);
    return;
  }
  const left = Math.max(0, Math.floor(-view.x / view.scale));
  const top = Math.max(0, Math.floor(-view.y / view.scale));
  const right = Math.min(picture.width, Math.ceil((view.width - view.x) / view.scale));
  const bottom = Math.min(picture.height, Math.ceil((view.height - view.y) / view.scale));
  if (right <= left || bottom <= top) return;
  const [x, y] = toCanvas(left, top);
  const [wide, high] = [right - left, bottom - top];
  context.drawImage(picture.bitmap, left, top, wide, high, x, y, wide * view.scale, high * view.scale);
}

function checkers(context, x, y, width, height) {
  const side = 10 * view.ratio;
  const tile = newCanvas(2 * side, 2 * side);
  tile.fillStyle = "#f2f2f2";
  tile.fillRect(0, 0, 2 * side, 2 * side);
  tile.fillStyle = "#cfcfcf";
  tile.fillRect(0, 0, side, side);
  tile.fillRect(side, side, side, side);
  context.fillStyle = context.createPattern(tile.canvas, "repeat");
  context.fillRect(x, y, width, height);
}

/** The cut-out where it was placed, as far as it lies on the photo. */
function drawCutout(context) {
  const photo = base();
  const { x, y, width, height } = box();
  const [left, top] = toCanvas(x, y);
  const [wide, high] = [width * view.scale, height * view.scale];
  context.save();
  context.beginPath();
  context.rect(view.x, view.y, photo.width * view.scale, photo.height * view.scale);
  context.clip();
  if (wide * high > MOST_KEPT * view.width * view.height) {
    setSmoothing(context);
    drawFlipped(context, cutoutPreview(), left, top, wide, high);
  } else {
    context.drawImage(keptCutout(wide, high), Math.round(left), Math.round(top));
  }
  context.restore();
}

/** The cut-out at the size that it has on the screen. An open stroke changes it when it ends. */
function keptCutout(wide, high) {
  const strokes = state.strokes.place.filter((stroke) => stroke !== openStroke()).map(identity);
  const key = [identity(placed()), state.placement.flip, wide, high, ...strokes].join();
  return sheets.cutout.show(key, Math.max(1, Math.round(wide)), Math.max(1, Math.round(high)), (context) => {
    setSmoothing(context);
    drawFlipped(context, cutoutPreview(), 0, 0, context.canvas.width, context.canvas.height);
  });
}

function drawFlipped(context, source, left, top, wide, high) {
  const { flip } = state.placement;
  context.save();
  context.translate(left + (flip ? wide : 0), top);
  context.scale(flip ? -1 : 1, 1);
  context.drawImage(source, 0, 0, wide, high);
  context.restore();
}

/** The answer to the right of the divider. Another strength than the answer's is shown by blending until it comes. */
function drawAnswer(context, picture) {
  const [left, right] = visibleSpan(picture);
  const at = left + (right - left) * state.split;
  context.save();
  context.beginPath();
  context.rect(at, 0, view.width - at, view.height);
  context.clip();
  context.globalAlpha = state.result.strength > 0 ? Math.min(1, state.strength / state.result.strength) : 1;
  context.drawImage(sheetOf(sheets.answer, state.result.picture, !state.result.isLayer), 0, 0);
  context.restore();
}

function drawBrush(context, cursor) {
  context.save();
  context.globalAlpha = TINT_SHARE;
  context.drawImage(tint(), 0, 0);
  context.restore();
  if (cursor.point) ring(context, toCanvas(...cursor.point), (state.brush.size / 2) * view.ratio);
}

/** The mask as a tint over the stage. The open stroke is drawn on it as it grows. */
function tint() {
  const stroke = openStroke();
  const mask = state.way === "mask" ? maskPreview() : null;
  const strokes = state.strokes[state.way].filter((one) => one !== stroke).map(identity);
  const ground = mask ? identity(mask) : [identity(placed()), ...Object.values(state.placement)].join();
  const key = [state.way, ground, viewKey(), ...strokes].join();
  const canvas = sheets.tint.show(key, view.width, view.height, (context) => {
    paintMask(context, mask);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = context.strokeStyle = TINT;
    context.fillRect(0, 0, view.width, view.height);
    context.globalCompositeOperation = "source-over";
    Object.assign(live, { stroke, points: 0 });
  });
  if (stroke) extendTint(sheets.tint.context, stroke);
  return canvas;
}

function paintMask(context, mask) {
  const { width, height } = base();
  if (mask) context.drawImage(mask, view.x, view.y, width * view.scale, height * view.scale);
  else if (placed()) drawCutout(context);
}

function extendTint(context, stroke) {
  if (live.stroke !== stroke) Object.assign(live, { stroke, points: 0 });
  if (live.points === stroke.points.length) return;
  const { placement } = state;
  context.save();
  context.translate(view.x, view.y);
  context.scale(view.scale, view.scale);
  if (state.way === "place") {
    // bringing back shows what there was: only where the cut-out is
    context.translate(placement.x + (placement.flip ? box().width : 0), placement.y);
    context.scale(placement.flip ? -placement.scale : placement.scale, placement.scale);
    context.beginPath();
    context.rect(0, 0, placed().width, placed().height);
    context.clip();
  }
  drawStroke(context, stroke, 1, Math.max(0, live.points - 1));
  context.restore();
  live.points = stroke.points.length;
}

function ring(context, [x, y], radius) {
  for (const [colour, width] of [["rgb(0 0 0 / 70%)", 3.5], ["#fff", 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * view.ratio;
    context.beginPath();
    context.arc(x, y, Math.max(radius, 2 * view.ratio), 0, 2 * Math.PI);
    context.stroke();
  }
}

function drawFrame(context) {
  const { x, y, width, height } = box();
  const [left, top] = toCanvas(x, y);
  const [wide, high] = [width * view.scale, height * view.scale];
  const unit = view.ratio;
  context.lineWidth = 3 * unit;
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.strokeRect(left, top, wide, high);
  context.lineWidth = 1.5 * unit;
  context.strokeStyle = "#fff";
  context.strokeRect(left, top, wide, high);
  for (const [cx, cy] of [[left, top], [left + wide, top], [left, top + high], [left + wide, top + high]]) {
    context.beginPath();
    context.arc(cx, cy, 7 * unit, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.fill();
    context.lineWidth = 1.5 * unit;
    context.strokeStyle = "rgb(0 0 0 / 55%)";
    context.stroke();
  }
}
