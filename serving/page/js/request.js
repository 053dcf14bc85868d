// The one request that matters: POST /v1/harmonize, with progress, cancelling and a second try when the server is busy.

/** What went wrong, as a sentence. */
export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const TRIES = 6;
const LONGEST_WAIT = 30; // seconds
const NO_ANSWER = "The server did not answer. See whether it is still running, then try again.";

/**
 * Send a form until the server takes it.
 *
 * @param {FormData} form
 * @param {{key: string, signal: AbortSignal, onProgress: (stage: string, share: number | null) => void}} options
 * @returns {Promise<{blob: Blob, notes: string[]}>}
 */
export async function harmonize(form, { key, signal, onProgress }) {
  for (let left = TRIES; ; left -= 1) {
    const answer = await send(form, key, signal, onProgress);
    if (answer.status === 200) return { blob: answer.response, notes: notesOf(answer) };
    const wait = retryAfter(answer);
    if (wait === null || left <= 1) throw await problemOf(answer);
    for (let second = wait; second > 0; second -= 1) {
      onProgress(`The server is busy. Trying again in ${second} s`, null);
      await sleep(1000, signal);
    }
  }
}

/** Names of the server's models, the default one first. */
export async function modelNames(key) {
  const response = await fetch("v1/models", { headers: credentials(key) });
  if (!response.ok) throw new Problem(await sentence(await response.text(), response.status), response.status);
  const { models } = await response.json();
  return models.map((model) => model.name);
}

const credentials = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

/** One try. XMLHttpRequest, since fetch tells nothing of how much has been sent. */
function send(form, key, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const settle = (act, value) => {
      signal.removeEventListener("abort", stop);
      act(value);
    };
    request.open("POST", "v1/harmonize");
    request.responseType = "blob";
    for (const [name, value] of Object.entries(credentials(key))) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress("Sending", total ? loaded / total : null);
    request.upload.onload = () => onProgress("Harmonizing", null);
    request.onprogress = ({ loaded, total }) => total && request.status === 200 && onProgress("Receiving", loaded / total);
    request.onload = () => settle(resolve, request);
    request.onerror = () => settle(reject, new Problem(NO_ANSWER));
    request.onabort = () => settle(reject, new DOMException("cancelled", "AbortError"));
    signal.throwIfAborted();
    signal.addEventListener("abort", stop);
    onProgress("Sending", 0);
    request.send(form);
  });
}

/** Seconds to wait before another try; null when another one is of no use. */
function retryAfter(answer) {
  if (answer.status !== 429 && answer.status !== 503) return null;
  const seconds = Number.parseInt(answer.getResponseHeader("Retry-After") ?? "", 10);
  if (!Number.isFinite(seconds)) return answer.status === 429 ? 2 : null;
  return Math.min(LONGEST_WAIT, Math.max(1, seconds));
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}

async function problemOf(answer) {
  return new Problem(await sentence(await answer.response.text(), answer.status), answer.status);
}

/** The sentence of an application/problem+json, as one: with a capital and a full stop. */
async function sentence(text, status) {
  let detail = "";
  try {
    detail = JSON.parse(text).detail ?? "";
  } catch {
    // not the server's own words: a proxy's page, say
  }
  if (typeof detail !== "string" || !detail) return `The server answered ${status} without saying why. Try again, or ask who runs it.`;
  return asSentence(detail);
}

export function asSentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/** What the command line would say on stderr: one header each, percent-encoded, joined by commas. */
function notesOf(answer) {
  const notes = [];
  for (const name of ["HarmonyRT-Warning", "HarmonyRT-Note"]) {
    const value = answer.getResponseHeader(name);
    if (value) notes.push(...value.split(",").map((part) => asSentence(decodeURIComponent(part.trim()))));
  }
  return notes;
}
