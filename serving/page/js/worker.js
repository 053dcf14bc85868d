// The worker: does one task after another and sends back what it made.

import { TASKS } from "./work.js";

self.addEventListener("message", async ({ data: { number, task, given } }) => {
  try {
    const result = await TASKS[task](...given);
    self.postMessage({ number, result }, { transfer: bitmapsOf(result) });
  } catch (error) {
    self.postMessage({ number, error: String(error?.message ?? error) });
  }
});

/** What is handed over instead of being copied. */
function bitmapsOf(result) {
  const parts = result instanceof ImageBitmap ? [result] : Object.values(result);
  return [...new Set(parts)].filter((part) => part instanceof ImageBitmap);
}

self.postMessage({ ready: true });
