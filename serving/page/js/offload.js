// Work on whole pictures in a worker, so that the page stays responsive; in the page where the browser has none that draws.

import { TASKS } from "./work.js";

let worker = null; // a promise of one, or of null where there is none
let asked = 0;
const waiting = new Map();

/**
 * Do one of the tasks of work.js.
 *
 * @param {string} task
 * @param {...any} given what can be sent to a worker
 */
export async function offload(task, ...given) {
  worker ??= start();
  const there = await worker;
  if (!there) return TASKS[task](...given);
  return new Promise((resolve, reject) => {
    asked += 1;
    waiting.set(asked, { resolve, reject });
    there.postMessage({ number: asked, task, given });
  });
}

/** A worker that has begun; null where workers have no canvas, no compression, or no modules. */
function start() {
  if (typeof Worker === "undefined" || typeof OffscreenCanvas === "undefined" || typeof CompressionStream === "undefined") return Promise.resolve(null);
  return new Promise((resolve) => {
    const started = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    started.addEventListener("message", ({ data }) => {
      if (data.ready) resolve(started);
      else settle(data);
    });
    started.addEventListener("error", () => {
      resolve(null);
      lose();
    });
  });
}

function settle({ number, result, error }) {
  const { resolve, reject } = waiting.get(number);
  waiting.delete(number);
  if (error === undefined) resolve(result);
  else reject(new Error(error));
}

/** The worker broke down, for want of memory most likely: its tasks fail, and the next one starts another. */
function lose() {
  worker = null;
  for (const { reject } of waiting.values()) reject(new Error("This picture needs more memory than the browser has. Bring a smaller one."));
  waiting.clear();
}
