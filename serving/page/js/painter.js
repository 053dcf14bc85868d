// Draws the stage: the picture, the cut-out on it, the mask over it, the answer beside it. Never more than the screen
// needs: previews until somebody zooms in further, then the visible part of the full picture.

import { cutoutPreview, maskPreview } from "./layers.js";
import { newCanvas } from "./pictures.js";
import { box } from "./placement.js";
import { base, placed, state } from "./state.js";
import { toCanvas, view, visibleSpan } from "./view.js";

/** Above so many device pixels for one of the picture, pixels are shown as squares. */
const SQUARES = 4;
const TINT = "#e6267f";
export const HANDLE = 22; // CSS pixels around a corner that belong to it

let scratch = null;

/** @param {CanvasRenderingContext2D} context @param {{point: number[] | null}} cursor of the brush, in picture pixels */
export function draw(context, cursor) {
  const picture = base();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  if (!picture) return;
  context.imageSmoothingEnabled = view.scale < SQUARES;
  context.imageSmoothingQuality = "medium";
  drawPicture(context, picture);
  drawCutout(context);
  if (state.tool === "compare" && state.result) drawAnswer(context, picture);
  if (state.tool === "brush") drawBrush(context, picture, cursor);
  if (state.tool === "place" && placed()) drawFrame(context);
}

function drawPicture(context, picture) {
  const width = picture.width * view.scale;
  const height = picture.height * view.scale;
  if (picture.hasAlpha) checkers(context, view.x, view.y, width, height);
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

function drawCutout(context, source = cutoutPreview()) {
  if (!source) return;
  const { flip } = state.placement;
  const { x, y, width, height } = box();
  const [left, top] = toCanvas(x, y);
  const photo = base();
  context.save();
  context.beginPath();
  context.rect(view.x, view.y, photo.width * view.scale, photo.height * view.scale);
  context.clip();
  context.translate(left + (flip ? width * view.scale : 0), top);
  context.scale(flip ? -1 : 1, 1);
  context.drawImage(source, 0, 0, width * view.scale, height * view.scale);
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
  drawPicture(context, state.result.picture);
  context.restore();
}

function drawBrush(context, picture, cursor) {
  scratch ??= newCanvas(1, 1);
  const { canvas } = scratch;
  if (canvas.width !== view.width || canvas.height !== view.height) {
    canvas.width = view.width;
    canvas.height = view.height;
  }
  scratch.globalCompositeOperation = "source-over";
  scratch.clearRect(0, 0, view.width, view.height);
  if (state.way === "place") {
    drawCutout(scratch);
  } else {
    const mask = maskPreview();
    if (mask) scratch.drawImage(mask, view.x, view.y, picture.width * view.scale, picture.height * view.scale);
  }
  scratch.globalCompositeOperation = "source-in";
  scratch.fillStyle = TINT;
  scratch.fillRect(0, 0, view.width, view.height);
  context.save();
  context.globalAlpha = 0.5;
  context.drawImage(canvas, 0, 0);
  context.restore();
  if (cursor.point) ring(context, toCanvas(...cursor.point), (state.brush.size / 2) * view.ratio);
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
