// Harmonize: from the state to a request, and from its answer to the state.

import { fullSize } from "./full_size.js";
import { foregroundMiddle } from "./layers.js";
import { readPicture } from "./reading.js";
import { Problem, harmonize } from "./request.js";
import { setSplit } from "./stage.js";
import { base, changed, missing, state } from "./state.js";

const EXTENSIONS = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/tiff": "tif", "image/bmp": "bmp" };
const FORMATS = { "image/jpeg": "jpg", "image/webp": "webp" };
/** A slider that moves asks again this long after it has stopped, in milliseconds. */
const PAUSE = 350;

let later = null;

/** Ask the server; shows progress, then the answer or a sentence. */
export async function run(key) {
  clearTimeout(later);
  if (missing()) {
    state.error = missing();
    changed();
    return;
  }
  state.running?.controller.abort();
  const controller = new AbortController();
  const running = { controller, stage: "Preparing", share: null };
  Object.assign(state, { running, error: "" });
  changed();
  try {
    await ask(key, running);
  } catch (error) {
    if (state.running !== running) return;
    if (!controller.signal.aborted) {
      state.error = error.message || "The browser ran out of memory. Bring a smaller picture.";
      state.needsKey = error instanceof Problem && error.status === 401;
    }
  } finally {
    if (state.running === running) state.running = null;
    changed();
  }
}

async function ask(key, running) {
  const { signal } = running.controller;
  await nextFrame(); // so that "Preparing" is seen before the canvas works
  const name = `${base().stem}-${state.format === "layer" ? "layer" : "harmonized"}`;
  const { strength, format } = state;
  const form = await formOf(signal);
  const { blob, notes } = await harmonize(form, {
    key,
    signal,
    streamed: model()?.fields?.includes("steps") ?? false,
    onProgress(stage, share) {
      Object.assign(running, { stage, share });
      changed();
    },
  });
  const file = `${name}.${EXTENSIONS[blob.type] ?? "png"}`;
  const picture = await readPicture(blob, file);
  if (signal.aborted) {
    picture.close();
    return;
  }
  state.result?.picture.close();
  const first = state.result === null;
  state.result = { blob, name: file, picture, strength, isLayer: format === "layer", notes };
  state.needsKey = false;
  if (first) {
    state.tool = "compare";
    setSplit(foregroundMiddle());
  }
}

/** The chosen model, as the server describes it. */
const model = () => state.models.find(({ name }) => name === state.model) ?? state.models[0];

async function formOf(signal) {
  const pair = await fullSize();
  signal.throwIfAborted();
  const form = new FormData();
  form.append("composite", pair.composite, pair.compositeName);
  if (pair.mask) form.append("mask", pair.mask, "mask.png");
  if (state.format === "layer") form.append("output", "layer");
  const format = state.format === "layer" ? "png" : state.format || (state.way === "place" ? (FORMATS[base().file.type] ?? "png") : "");
  if (format) form.append("format", format);
  if (state.keep) form.append("keep", state.keep);
  form.append("strength", String(state.strength));
  if (pair.fit) form.append("fit_mask", "true");
  if (pair.invert) form.append("invert_mask", "true");
  if (state.model) form.append("model", state.model);
  return form;
}

/** Ask again, soon, because a setting of an answer that is there has changed. */
export function runSoon(key) {
  clearTimeout(later);
  if (!state.result) return;
  later = setTimeout(() => state.result && run(key), PAUSE);
}

export function cancel() {
  clearTimeout(later);
  state.running?.controller.abort();
  state.running = null;
  changed();
}

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
