// The slots of the panel: one for each picture of the chosen way, with a thumbnail once it is filled.

import { newCanvas } from "./pictures.js";
import { identity } from "./sheets.js";
import { SLOTS, addTo, fill } from "./sources.js";
import { state } from "./state.js";

const list = document.getElementById("slots");
const SIDE = 96;
let shown = "";

/** Make the slots again when what they show has changed. */
export function showSlots() {
  const names = Object.keys(SLOTS).filter((slot) => SLOTS[slot].way === state.way);
  const key = names.map((slot) => `${slot}:${state.pictures[slot] ? identity(state.pictures[slot]) : 0}`).join();
  if (key === shown) return;
  shown = key;
  const focused = document.activeElement?.closest?.("[data-slot]")?.dataset.slot;
  list.replaceChildren(...names.map(row));
  if (focused) list.querySelector(`[data-slot="${focused}"] input`)?.focus();
}

function row(slot) {
  const picture = state.pictures[slot];
  const box = element("div", { className: "slot-row" });
  const label = element("label", { className: picture ? "slot filled" : "slot" });
  label.dataset.slot = slot;
  const words = element("span", { className: "words" });
  words.append(
    element("strong", { textContent: SLOTS[slot].label }),
    element("small", { textContent: picture ? `${picture.name}, ${picture.width} × ${picture.height}` : SLOTS[slot].empty }),
  );
  const input = element("input", { className: "file", type: "file", accept: "image/*", id: `file-${slot}` });
  input.addEventListener("change", () => {
    if (input.files.length) addTo(slot, input.files[0]);
    input.value = "";
  });
  label.append(picture ? thumbnail(picture) : blank(), words, input);
  box.append(label);
  if (picture) box.append(removal(slot));
  return box;
}

function removal(slot) {
  const button = element("button", { type: "button", className: "icon" });
  button.setAttribute("aria-label", `Remove the ${SLOTS[slot].label.toLowerCase()}`);
  button.append(icon("i-cross"));
  button.addEventListener("click", () => {
    fill(slot, null);
    document.getElementById(`file-${slot}`)?.focus();
  });
  return button;
}

function thumbnail(picture) {
  const context = newCanvas(SIDE, SIDE);
  const scale = Math.max(SIDE / picture.width, SIDE / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context.imageSmoothingQuality = "high";
  context.drawImage(picture.preview, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  context.canvas.setAttribute("aria-hidden", "true");
  return context.canvas;
}

function blank() {
  const box = element("span", { className: "blank" });
  box.append(icon("i-image"));
  return box;
}

export function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}
