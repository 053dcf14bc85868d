// What is sent, at full size: the composite and its mask. Files that nothing changed are sent as they came, so that
// their depth, profile and metadata reach the server.

import { cutOut, mended } from "./strokes.js";
import { asGrey, readMask } from "./masks.js";
import { newCanvas, toPng } from "./pictures.js";
import { maskSource, state } from "./state.js";

/**
 * @returns {Promise<{composite: Blob, compositeName: string, mask: Blob | null, invert: boolean, fit: boolean}>}
 */
export async function fullSize() {
  return state.way === "place" ? placedPair() : givenPair();
}

/** Paste the cut-out on the photo, in stored sRGB values as editors do; the mask is its alpha there. */
async function placedPair() {
  const { background, cutout } = state.pictures;
  const strokes = state.strokes.place;
  const source = strokes.length ? cutOut(cutout.bitmap, strokes, 1) : cutout.bitmap;
  const composite = newCanvas(background.width, background.height, { alpha: background.hasAlpha });
  composite.drawImage(background.bitmap, 0, 0);
  paste(composite, source, state.placement);
  const compositePng = await toPng(composite.canvas);
  release(composite.canvas);

  const alpha = newCanvas(background.width, background.height);
  paste(alpha, source, state.placement);
  alpha.globalCompositeOperation = "source-in";
  alpha.fillStyle = "#fff";
  alpha.fillRect(0, 0, background.width, background.height);
  const mask = asGrey(alpha.canvas);
  release(alpha.canvas);
  const maskPng = await toPng(mask);
  release(mask);
  return { composite: compositePng, compositeName: `${background.stem}.png`, mask: maskPng, invert: false, fit: false };
}

/** Draw a cut-out where it was placed. */
export function paste(context, source, { x, y, scale, flip }) {
  const width = source.width * scale;
  context.save();
  context.imageSmoothingQuality = "high";
  context.translate(x + (flip ? width : 0), y);
  context.scale(flip ? -1 : 1, 1);
  context.drawImage(source, 0, 0, width, source.height * scale);
  context.restore();
}

async function givenPair() {
  const { composite, mask } = state.pictures;
  const strokes = state.strokes.mask;
  const sent = { composite: composite.file, compositeName: composite.name };
  if (strokes.length === 0) {
    return { ...sent, mask: mask?.file ?? null, invert: state.invert, fit: state.fit };
  }
  const source = maskSource();
  const { width, height } = composite;
  const read = source ? await readMask(source.file, width, height, state.invert) : null;
  const whole = asGrey(mended(read, width, height, strokes, 1));
  if (read) release(read);
  const png = await toPng(whole);
  release(whole);
  return { ...sent, mask: png, invert: false, fit: false };
}

/** Give a large canvas's memory back now; Safari would keep it for a while. */
function release(canvas) {
  canvas.width = canvas.height = 0;
}
