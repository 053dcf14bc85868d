// The one request that matters: POST /v1/harmonize, with progress, cancelling and a second try when the server is busy.

import { lastStage, resultOf } from "./events.js";

/** What went wrong, as a sentence. */
export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const EVENTS = "text/event-stream";
const TRIES = 6;
const LONGEST_WAIT = 30; // seconds
const NO_ANSWER = "The server did not answer. See whether it is still running, then try again.";

/**
 * Send a form until the server takes it.
 *
 * @param {FormData} form
 * @param {{key: string, streamed: boolean, signal: AbortSignal, onProgress: (stage: string, share: number | null) => void}}
 *   options streamed: for models that take long, and tell how far they are
 * @returns {Promise<{blob: Blob, notes: string[]}>}
 */
export async function harmonize(form, options) {
  for (let left = TRIES; ; left -= 1) {
    const request = await send(form, options);
    if (request.status === 200) return options.streamed ? readStream(request.responseText) : readAnswer(request);
    const wait = retryAfter(request);
    if (wait === null || left <= 1) throw await problemOf(request);
    for (let second = wait; second > 0; second -= 1) {
      options.onProgress(`The server is busy. Trying again in ${second} s`, null);
      await sleep(1000, options.signal);
    }
  }
}

/**
 * The server's models, the default one first.
 *
 * @returns {Promise<{name: string, family: string, fields?: string[]}[]>}
 */
export async function listModels(key) {
  const response = await fetch("v1/models", { headers: credentials(key) });
  if (!response.ok) throw new Problem(sentence(await response.text(), response.status), response.status);
  return (await response.json()).models;
}

const credentials = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

/** One try. XMLHttpRequest, since fetch tells nothing of how much has been sent. */
function send(form, { key, streamed, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const settle = (act, value) => {
      signal.removeEventListener("abort", stop);
      act(value);
    };
    request.open("POST", "v1/harmonize");
    request.responseType = streamed ? "text" : "blob";
    if (streamed) request.setRequestHeader("Accept", EVENTS);
    for (const [name, value] of Object.entries(credentials(key))) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress("Sending", total ? loaded / total : null);
    request.upload.onload = () => onProgress("Harmonizing", null);
    request.onprogress = ({ loaded, total }) => {
      if (request.status !== 200) return;
      if (streamed) showLastStage(request.responseText, onProgress);
      else if (total) onProgress("Receiving", loaded / total);
    };
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

async function problemOf(request) {
  const text = request.responseType === "text" ? request.responseText : await request.response.text();
  return new Problem(sentence(text, request.status), request.status);
}

/** The sentence of an application/problem+json, with a capital and a full stop. */
function sentence(text, status) {
  let detail = "";
  try {
    detail = JSON.parse(text).detail;
  } catch {
    // not the server's own words: a proxy's page, say
  }
  if (typeof detail === "string" && detail) return asSentence(detail);
  return `The server answered ${status} without saying why. Try again, or ask who runs it.`;
}

export function asSentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function readAnswer(request) {
  return { blob: request.response, notes: notesOf(request) };
}

/** What the command line would say on stderr: a header for each sentence, percent-encoded, joined by commas. */
function notesOf(request) {
  const values = ["HarmonyRT-Warning", "HarmonyRT-Note"].map((name) => request.getResponseHeader(name));
  return values.filter(Boolean).flatMap((value) => value.split(",").map((part) => asSentence(decodeURIComponent(part.trim()))));
}

function showLastStage(text, onProgress) {
  const stage = lastStage(text);
  if (stage) onProgress(stage.name, stage.share);
}

function readStream(text) {
  const { result, problem } = resultOf(text);
  if (problem) throw new Problem(sentence(JSON.stringify(problem), problem.status), problem.status);
  if (!result) throw new Problem(NO_ANSWER);
  return { blob: result.blob, notes: result.sentences.map((each) => asSentence(each.replace(/^(note|warning): /, ""))) };
}
