// Strokes of the brush: kept as points, drawn on a mask at any size. Undoing one is drawing the others again.

import { newCanvas } from "./pictures.js";

/**
 * A mask with strokes on it, which follows a growing list of strokes by drawing only what is new.
 */
export class StrokeLayer {
  /**
   * @param {CanvasImageSource | "white" | null} ground what the strokes are drawn on; null is an empty mask
   * @param {number} width of the mask
   * @param {number} height
   * @param {number} scale pixels of the mask for one that the strokes are measured in
   */
  constructor(ground, width, height, scale) {
    Object.assign(this, { ground, scale, context: newCanvas(width, height) });
    this.context.fillStyle = this.context.strokeStyle = "#fff";
    this.clear();
  }

  get canvas() {
    return this.context.canvas;
  }

  clear() {
    const { width, height } = this.canvas;
    this.drawn = [];
    this.context.clearRect(0, 0, width, height);
    if (this.ground === "white") {
      this.context.fillRect(0, 0, width, height);
    } else if (this.ground) {
      this.context.drawImage(this.ground, 0, 0, width, height);
    }
  }

  /** Show these strokes. @returns {boolean} whether anything changed */
  show(strokes) {
    const grown = this.drawn.every(({ stroke }, i) => strokes[i] === stroke);
    if (!grown) this.clear();
    let fresh = !grown;
    strokes.forEach((stroke, i) => {
      const from = this.drawn[i]?.points ?? 0;
      if (from === stroke.points.length) return;
      drawStroke(this.context, stroke, this.scale, Math.max(0, from - 1));
      this.drawn[i] = { stroke, points: stroke.points.length };
      fresh = true;
    });
    return fresh;
  }
}

/** Draw one stroke, from one of its points on, in the context's fill and stroke colour. */
export function drawStroke(context, { erase, radius, points }, scale, from) {
  const [first, ...rest] = points.slice(from);
  context.save();
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = 2 * radius * scale;
  context.beginPath();
  if (rest.length === 0) {
    context.arc(first[0] * scale, first[1] * scale, radius * scale, 0, 2 * Math.PI);
    context.fill();
  } else {
    context.moveTo(first[0] * scale, first[1] * scale);
    for (const [x, y] of rest) context.lineTo(x * scale, y * scale);
    context.stroke();
  }
  context.restore();
}

/** A mask with strokes on it, at once. Arguments as those of StrokeLayer. */
export function mended(ground, width, height, strokes, scale) {
  const layer = new StrokeLayer(ground, width, height, scale);
  layer.show(strokes);
  return layer.canvas;
}

/** A cut-out less what was erased of it. @param {ImageBitmap} picture of any size; `scale` relates it to the strokes */
export function cutOut(picture, strokes, scale) {
  return keep(picture, mended("white", picture.width, picture.height, strokes, scale));
}

/** The part of a picture under a mask of its size. */
export function keep(picture, mask, context = newCanvas(picture.width, picture.height)) {
  context.globalCompositeOperation = "copy";
  context.drawImage(picture, 0, 0);
  context.globalCompositeOperation = "destination-in";
  context.drawImage(mask, 0, 0);
  context.globalCompositeOperation = "source-over";
  return context.canvas;
}
