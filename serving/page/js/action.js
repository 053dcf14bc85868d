// The foot of the panel: progress, errors, the answer's notes, and the buttons.

import { element } from "./slots.js";
import { missing, state } from "./state.js";

const at = (id) => document.getElementById(id);
let link = { blob: null, url: "" };
let said = "";

export function showAction() {
  const { running, result, error } = state;
  const hadFocus = [at("go"), at("cancel")].includes(document.activeElement);
  showProgress(running);
  at("cancel").hidden = !running;
  at("go").hidden = Boolean(running);
  at("go").textContent = result ? "Run again" : "Harmonize";
  at("go").classList.toggle("primary", !result && !missing());
  at("error").hidden = !error;
  if (at("error").textContent !== error) at("error").textContent = error;
  showDownload(running ? null : result);
  if (hadFocus) keepFocus(running, result);
  showNotes(result?.notes ?? []);
  say(running ? running.stage : result ? "Done. The picture is harmonized." : "");
}

/** The button that was pressed is gone: the focus goes to the one that comes next. */
function keepFocus(running, result) {
  if (!document.activeElement.matches("#go, #cancel") || document.activeElement.hidden) {
    (running ? at("cancel") : result ? at("download") : at("go")).focus({ preventScroll: true });
  }
}

function showProgress(running) {
  at("progress").hidden = !running;
  if (!running) return;
  const bar = at("progress-bar");
  const percent = running.share === null ? "" : ` ${Math.round(running.share * 100)} %`;
  at("progress-text").textContent = `${running.stage}${percent || " …"}`;
  if (running.share === null) bar.removeAttribute("value");
  else bar.value = running.share;
}

/** The link gives the answer's bytes as they came. */
function showDownload(result) {
  const download = at("download");
  download.hidden = !result;
  if (result && link.blob !== result.blob) {
    if (link.url) URL.revokeObjectURL(link.url);
    link = { blob: result.blob, url: URL.createObjectURL(result.blob) };
    download.href = link.url;
    download.download = result.name;
    download.classList.add("primary");
  }
}

function showNotes(notes) {
  at("notes").hidden = notes.length === 0;
  const key = notes.join("\n");
  if (at("notes").dataset.key === key) return;
  at("notes").dataset.key = key;
  at("notes").replaceChildren(...notes.map((note) => element("li", { textContent: note })));
}

/** Tell screen readers, once for each new thing. */
function say(text) {
  if (text === said) return;
  said = text;
  at("status").textContent = text;
}
