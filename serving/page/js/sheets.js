// Canvases that keep what was drawn on them until what they show changes: moving the cut-out or the brush then costs
// no more than copying pixels.

import { newCanvas } from "./pictures.js";

export class Sheet {
  constructor() {
    this.key = null;
    this.context = newCanvas(1, 1);
  }

  /**
   * The canvas, drawn again if `key` is another one than before.
   *
   * @param {string} key of what is drawn
   * @param {(context: CanvasRenderingContext2D) => void} paint draws on an empty canvas
   */
  show(key, width, height, paint) {
    const { context } = this;
    if (this.key === key && context.canvas.width === width && context.canvas.height === height) return context.canvas;
    this.key = key;
    context.canvas.width = width; // empties it, too
    context.canvas.height = height;
    paint(context);
    return context.canvas;
  }
}

const numbers = new WeakMap();
let count = 0;

/** A number for an object, so that keys can name it. */
export function identity(value) {
  if (value === null || typeof value !== "object") return String(value);
  if (!numbers.has(value)) numbers.set(value, (count += 1));
  return numbers.get(value);
}
