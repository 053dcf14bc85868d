// Files become pictures: decoded upright and in sRGB, with a smaller copy for the screen.

import { opaquePng } from "./png.js";

/** Longest side of the copy that the screen shows until it is zoomed in further than that. */
const PREVIEW = 2048;
/** Side of the copy that is looked at for transparency, masks and corners. */
const GLANCE = 256;

export class Picture {
  /**
   * @param {File | Blob} file as it came; sent as it is where nothing was changed
   * @param {string} name
   * @param {{bitmap: ImageBitmap, preview: ImageBitmap, hasAlpha: boolean, looksLikeMask: boolean}} pixels
   *   bitmap: full size, upright, in sRGB; preview: the same, at most PREVIEW wide and high
   */
  constructor(file, name, pixels) {
    Object.assign(this, { file, name, ...pixels });
    this.width = this.bitmap.width;
    this.height = this.bitmap.height;
  }

  /** Pixels of the preview for one of the picture. */
  get previewScale() {
    return this.preview.width / this.width;
  }

  get stem() {
    return this.name.replace(/\.[^.]*$/, "") || "picture";
  }

  close() {
    this.bitmap.close();
    if (this.preview !== this.bitmap) this.preview.close();
  }
}

/** Decode with options; older browsers refuse those that they do not know, and mostly do the same without. */
export async function decode(file, options) {
  try {
    return await createImageBitmap(file, options);
  } catch (error) {
    if (error instanceof TypeError) return createImageBitmap(file);
    throw error;
  }
}

/** A bitmap's smaller copy for the screen; itself where it is small. */
export async function reduced(bitmap) {
  const scale = PREVIEW / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return bitmap;
  return createImageBitmap(bitmap, {
    resizeWidth: Math.max(1, Math.round(bitmap.width * scale)),
    resizeHeight: Math.max(1, Math.round(bitmap.height * scale)),
    resizeQuality: "medium",
  });
}

/** A canvas, of the document or of a worker, and its context; `width` and `height` in pixels. */
export function newCanvas(width, height, options = {}) {
  const sides = [width, height].map((side) => Math.max(1, Math.round(side)));
  const canvas = typeof document === "undefined" ? new OffscreenCanvas(...sides) : document.createElement("canvas");
  [canvas.width, canvas.height] = sides;
  const context = canvas.getContext("2d", { colorSpace: "srgb", ...options });
  if (!context) throw new Error(`This browser has no room for a picture of ${width} x ${height} pixels.`);
  return context;
}

/** Whether a picture has transparent parts, and whether it looks like a mask (grey, and nearly all black or white). */
export function glance(preview) {
  const scale = Math.min(1, GLANCE / Math.max(preview.width, preview.height));
  const context = newCanvas(preview.width * scale, preview.height * scale, { willReadFrequently: true });
  const { width, height } = context.canvas;
  context.drawImage(preview, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  let clear = 0;
  let grey = 0;
  let flat = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 250) clear += 1;
    const low = Math.min(data[i], data[i + 1], data[i + 2]);
    const high = Math.max(data[i], data[i + 1], data[i + 2]);
    if (high - low < 6) grey += 1;
    if (high < 12 || low > 243) flat += 1;
  }
  const all = width * height;
  return { hasAlpha: clear > 0, looksLikeMask: clear === 0 && grey > 0.99 * all && flat > 0.85 * all };
}

/** A PNG of a canvas, lossless; with an alpha channel if the canvas has one. @param {{grey?: boolean}} options of masks */
export function toPng(context, { grey = false } = {}) {
  const { canvas } = context;
  if (canvas.convertToBlob) return context.getContextAttributes().alpha ? canvas.convertToBlob({ type: "image/png" }) : opaquePng(context, grey);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob) resolve(blob);
      else reject(new Error(`This browser cannot write a picture of ${canvas.width} x ${canvas.height} pixels. Bring a smaller one.`));
    }, "image/png");
  });
}
