// The layers at screen size: the mended mask and the mended cut-out, made again only when what they are made of changed.

import { coverage, looksInverted } from "./masks.js";
import { offload } from "./offload.js";
import { box } from "./placement.js";
import { newCanvas } from "./pictures.js";
import { changed, maskSource, placed, state } from "./state.js";
import { StrokeLayer, keep } from "./strokes.js";

const mask = { source: null, composite: null, invert: false, layer: null, inverted: false };
const cutout = { picture: null, layer: null, context: null };

/** The mask of the composite at its preview's size, mended; null while it is being read. */
export function maskPreview() {
  const { composite } = state.pictures;
  if (!composite) return null;
  const source = maskSource();
  if (mask.source !== source || mask.composite !== composite || mask.invert !== state.invert) {
    Object.assign(mask, { source, composite, invert: state.invert, layer: null, inverted: false });
    if (source) readGround(source, composite, state.invert);
    else mask.layer = layerOn(null, composite);
  }
  mask.layer?.show(state.strokes.mask);
  return mask.layer?.canvas ?? null;
}

async function readGround(source, composite, invert) {
  const { width, height } = composite.preview;
  const ground = await offload("readMaskPixels", source.file, width, height, invert);
  if (mask.source !== source || mask.composite !== composite || mask.invert !== invert) return; // another one by now
  mask.layer = layerOn(ground, composite);
  mask.inverted = looksInverted(ground);
  changed();
}

function layerOn(ground, composite) {
  return new StrokeLayer(ground, composite.preview.width, composite.preview.height, composite.previewScale);
}

/** Whether the mask, inverted where that was asked for, covers most of the picture and its corners. */
export function maskLooksInverted() {
  return Boolean(maskPreview() && mask.inverted);
}

/** The cut-out at its preview's size, without what was erased. */
export function cutoutPreview() {
  const picture = placed();
  if (!picture) return null;
  if (state.strokes.place.length === 0) return picture.preview;
  const { preview, previewScale } = picture;
  if (cutout.picture !== picture) {
    const layer = new StrokeLayer("white", preview.width, preview.height, previewScale);
    Object.assign(cutout, { picture, layer, context: newCanvas(preview.width, preview.height) });
  }
  if (cutout.layer.show(state.strokes.place)) keep(preview, cutout.layer.canvas, cutout.context);
  return cutout.context.canvas;
}

/** How far right the middle of the foreground is, 0 to 1 of the picture's width: where before and after differ. */
export function foregroundMiddle() {
  if (state.way === "mask") {
    const canvas = maskPreview();
    return canvas ? coverage(canvas).middle : 0.5;
  }
  const { x, width } = box();
  const middle = (x + width / 2) / state.pictures.background.width;
  return Math.min(0.9, Math.max(0.1, middle));
}
