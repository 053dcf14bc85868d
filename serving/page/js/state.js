// What the page knows. Whoever changes it calls changed(); whoever shows it listens. Nothing else is shared.

/**
 * @typedef {import("./pictures.js").Picture} Picture
 * @typedef {{erase: boolean, radius: number, points: number[][]}} Stroke  in pixels of the picture that it mends
 * @typedef {{x: number, y: number, scale: number, flip: boolean}} Placement  of the cut-out, in pixels of the photo
 */
export const state = {
  /** "place": a cut-out on a photo; "mask": a finished composite and its mask. */
  way: "place",
  /** @type {Record<string, Picture | null>} */
  pictures: { background: null, cutout: null, composite: null, mask: null },
  /** @type {Placement} */
  placement: { x: 0, y: 0, scale: 1, flip: false },
  /** Strokes that mend the mask, of each way by itself. @type {Record<string, Stroke[]>} */
  strokes: { place: [], mask: [] },
  invert: false,
  fit: false,
  brush: { erase: false, size: 24 },
  /** "place", "brush" or "compare" */
  tool: "place",
  split: 0.5,
  strength: 1,
  /** What stays as it was: "luminance", "hue" or "" (nothing). */
  keep: "",
  /** A format of the API, "layer" (the foreground alone), or "" (as the photo came). */
  format: "",
  /** Chosen by name; "" is the default one. */
  model: "",
  /** As the server describes them. @type {{name: string, fields?: string[]}[]} */
  models: [],
  /** The server's answer. @type {{blob: Blob, name: string, picture: Picture, strength: number, isLayer: boolean, notes: string[]} | null} */
  result: null,
  /** The request that runs. @type {{controller: AbortController, stage: string, share: number | null} | null} */
  running: null,
  error: "",
  credits: "",
  /** The server wants an API key. */
  needsKey: false,
};

const listeners = new Set();
let queued = false;

export function onChange(listener) {
  listeners.add(listener);
}

/** Let everything that shows the state look again, once, after the current task. */
export function changed() {
  if (queued) return;
  queued = true;
  queueMicrotask(() => {
    queued = false;
    for (const listener of listeners) listener(state);
  });
}

/** A picture, its place or its mask is another one now: the answer no longer belongs to it. */
export function outdated() {
  state.running?.controller.abort();
  if (state.result) state.result.picture.close();
  state.result = null;
  state.error = "";
  if (state.tool === "compare") state.tool = state.way === "place" ? "place" : "brush";
  changed();
}

/** The picture whose size the result has: the photo or the composite. */
export function base() {
  return state.way === "place" ? state.pictures.background : state.pictures.composite;
}

/** The cut-out that lies on the photo, or null. */
export function placed() {
  return state.way === "place" && state.pictures.background ? state.pictures.cutout : null;
}

/** The file that the mask is read from, in the way that brings one: the mask, or a composite with alpha. */
export function maskSource() {
  const { mask, composite } = state.pictures;
  return mask ?? (composite?.hasAlpha ? composite : null);
}

/** What is still missing before harmonizing, as a sentence; "" when nothing is. */
export function missing() {
  const { background, cutout, composite } = state.pictures;
  if (state.way === "place") {
    if (!background && !cutout) return "Add a photo and a cut-out first.";
    if (!background) return "Add the photo that the cut-out goes on.";
    if (!cutout) return "Add a cut-out: a picture with a transparent background.";
    return "";
  }
  if (!composite) return "Add the composite first.";
  if (!maskSource() && !state.strokes.mask.some((stroke) => !stroke.erase)) {
    return "Add a mask, or paint over the pasted object with the brush.";
  }
  if (mismatch() && !state.fit && !liesOnItsSide() && state.strokes.mask.length === 0) {
    return `${mismatch()} Bring one of the same size, or stretch it.`;
  }
  return "";
}

/** That the mask has another size than the composite, as a sentence; "" when it has the same. */
export function mismatch() {
  const { composite, mask } = state.pictures;
  if (state.way !== "mask" || !composite || !mask) return "";
  if (mask.width === composite.width && mask.height === composite.height) return "";
  return `The mask is ${mask.width} × ${mask.height} and the composite ${composite.width} × ${composite.height}.`;
}

/** Whether the mask's sides are exchanged: the server turns it, where the photo was turned by its EXIF orientation. */
export function liesOnItsSide() {
  const { composite, mask } = state.pictures;
  return Boolean(mismatch()) && mask.width === composite.height && mask.height === composite.width;
}
