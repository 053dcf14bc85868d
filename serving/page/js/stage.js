// The stage as an element: its size, its canvas, the divider on it, and what it says about itself.

import { draw } from "./painter.js";
import { base, changed, state } from "./state.js";
import { fit, fitScale, settle, view, visibleSpan, zoomTo } from "./view.js";

const frame = document.getElementById("frame");
export const stage = document.getElementById("stage");
const canvas = document.getElementById("canvas");
const context = canvas.getContext("2d", { colorSpace: "srgb" });
const divider = document.getElementById("divider");
const welcome = document.getElementById("welcome");
const chips = document.getElementById("chips");

/** Where the brush would paint, in picture pixels; null when it is elsewhere. */
export const cursor = { point: null };

let asked = false;
let shown = null;

/** Draw the stage in the next frame. */
export function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw(context, cursor);
    placeDivider();
    stage.dataset.scroll = String(state.tool === "compare" && view.fitted);
    document.getElementById("zoom-now").textContent = base() ? `Now ${Math.round(view.scale * 100)} %` : "";
  });
}

/** Bring the stage in line with the state. */
export function showStage() {
  const picture = base();
  const welcomed = welcome.contains(document.activeElement);
  stage.hidden = !picture;
  welcome.hidden = Boolean(picture);
  stage.dataset.tool = state.tool;
  chips.hidden = divider.hidden = !(picture && state.tool === "compare" && state.result);
  for (const id of ["zoom-in", "zoom-out", "zoom-full", "zoom-fit"]) document.getElementById(id).disabled = !picture;
  if (!picture) {
    shown = null;
    return;
  }
  frame.style.setProperty("--aspect", String(picture.width / picture.height)); // a phone's stage is as high as the picture
  measure();
  if (shown !== picture) {
    shown = picture;
    stage.setAttribute("aria-label", `Picture ${picture.name}, ${picture.width} × ${picture.height}`);
    cursor.point = null;
    fit(picture);
  }
  if (welcomed) stage.focus({ preventScroll: true }); // what had the focus is gone
  redraw();
}

let announcing = null;

/** Tell screen readers what a key did, once the keys rest. @param {() => string} words */
export function announce(words) {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    document.getElementById("stage-status").textContent = words();
  }, 300);
}

function measure() {
  const ratio = Math.min(2, window.devicePixelRatio || 1); // finer screens show no more of a photo
  const width = Math.max(1, Math.round(stage.clientWidth * ratio));
  const height = Math.max(1, Math.round(stage.clientHeight * ratio));
  if (width === view.width && height === view.height && ratio === view.ratio) return;
  Object.assign(view, { width, height, ratio });
  canvas.width = width;
  canvas.height = height;
  const picture = base();
  if (!picture) return;
  if (view.fitted) fit(picture);
  else settle(picture);
}

new ResizeObserver(() => {
  if (stage.hidden) return;
  measure();
  redraw();
}).observe(frame);

/** A pointer's place on the canvas, in device pixels. */
export function onCanvas(event) {
  const box = stage.getBoundingClientRect();
  return [(event.clientX - box.left) * view.ratio, (event.clientY - box.top) * view.ratio];
}

export function zoom(factor, x, y) {
  if (!base()) return;
  zoomTo(base(), view.scale * factor, x, y);
  redraw();
}

/** 100 %: a pixel of the picture is one of the screen. */
export function zoomFull(x, y) {
  if (!base()) return;
  zoomTo(base(), 1, x, y);
  view.fitted = fitScale(base()) === 1;
  redraw();
}

export function zoomFit() {
  if (!base()) return;
  fit(base());
  redraw();
}

function placeDivider() {
  if (divider.hidden) return;
  const [left, right] = visibleSpan(base());
  divider.style.left = `${(left + (right - left) * state.split) / view.ratio}px`;
}

/** Set the divider. @param {number} split 0: all of it harmonized, 1: all of it before */
export function setSplit(split) {
  state.split = Math.min(1, Math.max(0, split));
  const percent = Math.round(state.split * 100);
  divider.setAttribute("aria-valuenow", String(percent));
  divider.setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
  changed();
}

/** The split that puts the divider under a point of the canvas. */
export function splitAt(x) {
  const [left, right] = visibleSpan(base());
  return right > left ? (x - left) / (right - left) : 0.5;
}
