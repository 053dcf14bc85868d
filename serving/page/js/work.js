// The work on whole pictures, of many megapixels: what worker.js does for the page, next to it. Nothing here knows the
// document, or the page's state.

import { asGrey, readMask } from "./masks.js";
import { decode, glance, newCanvas, reduced, toPng } from "./pictures.js";
import { cutOut, mended } from "./strokes.js";

/** Each takes what can be sent to a worker, and returns the same. */
export const TASKS = { readPixels, readMaskPixels, pasted, mendedMask };

/** A file's picture: full size and preview, upright and in sRGB, and what a glance at it says. */
async function readPixels(file) {
  const bitmap = await decode(file, { imageOrientation: "from-image" });
  const preview = await reduced(bitmap);
  return { bitmap, preview, ...glance(preview) };
}

async function readMaskPixels(file, width, height, invert) {
  return asBitmap(await readMask(file, width, height, invert));
}

/** A canvas as what can be sent. */
function asBitmap(canvas) {
  return canvas.transferToImageBitmap ? canvas.transferToImageBitmap() : canvas;
}

/**
 * Paste a cut-out on a photo, in stored sRGB values as editors do; the mask is its alpha there.
 *
 * @param {{file: Blob, hasAlpha: boolean}} photo
 * @param {Blob} cutoutFile
 * @param {Stroke[]} strokes
 * @param {Placement} placement
 * @returns {Promise<{composite: Blob, mask: Blob}>} PNGs of the photo's size
 */
async function pasted(photo, cutoutFile, strokes, placement) {
  const [background, cutout] = await Promise.all([photo.file, cutoutFile].map((file) => decode(file, { imageOrientation: "from-image" })));
  const { width, height } = background;
  const source = strokes.length ? cutOut(cutout, strokes, 1) : cutout;
  const composite = newCanvas(width, height, { alpha: photo.hasAlpha });
  composite.drawImage(background, 0, 0);
  background.close();
  paste(composite, source, placement);
  const compositePng = await toPng(composite);
  release(composite.canvas);

  const alpha = newCanvas(width, height);
  paste(alpha, source, placement);
  cutout.close();
  alpha.globalCompositeOperation = "source-in";
  alpha.fillStyle = "#fff";
  alpha.fillRect(0, 0, width, height);
  const mask = asGrey(alpha.canvas);
  release(alpha.canvas);
  const maskPng = await toPng(mask, { grey: true });
  release(mask.canvas);
  return { composite: compositePng, mask: maskPng };
}

/** Draw a cut-out where it was placed. */
function paste(context, source, { x, y, scale, flip }) {
  const width = source.width * scale;
  context.save();
  context.imageSmoothingQuality = "high";
  context.translate(x + (flip ? width : 0), y);
  context.scale(flip ? -1 : 1, 1);
  context.drawImage(source, 0, 0, width, source.height * scale);
  context.restore();
}

/** A PNG of a mask with strokes on it; `file` is null for an empty one. */
async function mendedMask(file, width, height, invert, strokes) {
  const read = file ? await readMask(file, width, height, invert) : null;
  const whole = asGrey(mended(read, width, height, strokes, 1));
  if (read) release(read);
  const png = await toPng(whole, { grey: true });
  release(whole.canvas);
  return png;
}

/** Give a large canvas's memory back now; Safari would keep it for a while. */
function release(canvas) {
  canvas.width = canvas.height = 0;
}
