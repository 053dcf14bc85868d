// Masks: how a mask's file is read and judged. A mask here is a canvas whose alpha is the mask.

import { decode, newCanvas } from "./pictures.js";

/** Levels up to this one, and none above, are labels: everything but 0 is foreground (the runtime's rule). */
const HIGHEST_LABEL = 32;

/**
 * Mask of a file at some size, as alpha of white.
 *
 * @param {Blob} file
 * @param {number} width of what is returned
 * @param {number} height
 * @param {boolean} invert
 */
export async function readMask(file, width, height, invert) {
  const raw = await decode(file, { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" });
  const context = newCanvas(width, height, { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(raw, 0, 0, context.canvas.width, context.canvas.height);
  raw.close();
  const pixels = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
  toAlpha(pixels.data, invert);
  context.putImageData(pixels, 0, 0);
  return context.canvas;
}

/** In place: RGBA of a mask's file becomes white with the mask as alpha. */
function toAlpha(data, invert) {
  let highest = 0;
  let clear = false;
  let colourful = false;
  for (let i = 0; i < data.length; i += 4) {
    clear ||= data[i + 3] < 250;
    const level = Math.max(data[i], data[i + 1], data[i + 2]);
    colourful ||= level - Math.min(data[i], data[i + 1], data[i + 2]) > 24;
    if (level > highest) highest = level;
  }
  const labels = !clear && highest <= HIGHEST_LABEL;
  const stretch = colourful && highest ? 255 / highest : 1;
  for (let i = 0; i < data.length; i += 4) {
    let level = Math.max(data[i], data[i + 1], data[i + 2]);
    if (clear) level = data[i + 3];
    else if (labels) level = level ? 255 : 0;
    else level = Math.min(255, Math.round(level * stretch));
    data[i] = data[i + 1] = data[i + 2] = 255;
    data[i + 3] = invert ? 255 - level : level;
  }
}

/** Share of the picture that a mask covers, how many of its corners, and how far right its middle is (0 to 1). */
export function coverage(mask) {
  const side = 64;
  const context = newCanvas(side, side, { willReadFrequently: true });
  context.drawImage(mask, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  let covered = 0;
  let moment = 0;
  for (let i = 0; i < side * side; i += 1) {
    const level = data[4 * i + 3];
    covered += level;
    moment += level * ((i % side) + 0.5);
  }
  const corners = [0, side - 1, side * (side - 1), side * side - 1].filter((at) => data[at * 4 + 3] > 127).length;
  return { share: covered / (255 * side * side), corners, middle: covered ? moment / (covered * side) : 0.5 };
}

/** A mask as the runtime finds inverted: on most of the picture, and on its corners. */
export function looksInverted(mask) {
  const { share, corners } = coverage(mask);
  return share > 0.6 && corners >= 3;
}

/** White on black of a mask held as alpha, on a canvas without alpha: what is sent. */
export function asGrey(mask) {
  const context = newCanvas(mask.width, mask.height, { alpha: false });
  context.fillStyle = "#000";
  context.fillRect(0, 0, mask.width, mask.height);
  context.drawImage(mask, 0, 0);
  return context;
}
