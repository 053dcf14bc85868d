// The controls: what they change, and how they show the state.

import { undo, undoAll } from "./brush.js";
import { HELP, setBrush } from "./keys.js";
import { maskHints } from "./hints.js";
import { centreOnPhoto, box, place, resize, sizeShare } from "./placement.js";
import { listModels } from "./request.js";
import { cancel, run, runSoon } from "./run.js";
import { element, showSlots } from "./slots.js";
import { addAnywhere, chooseWay, startOver } from "./sources.js";
import { zoom, zoomFit, zoomFull } from "./stage.js";
import { base, changed, liesOnItsSide, maskSource, mismatch, outdated, placed, state } from "./state.js";

const at = (id) => document.getElementById(id);
const FORMATS = [
  ["", "Like the photo"],
  ["png", "PNG"],
  ["jpg", "JPEG"],
  ["webp", "WebP"],
  ["layer", "The foreground alone"],
];
const KEEP = [["", "Colour and light"], ["luminance", "Colour only"], ["hue", "Light only"]];
const TOOLS = { place: () => state.way === "place", brush: () => true, compare: () => state.result !== null };
const apiKey = () => at("key").value.trim();

export function listenToPanel() {
  at("panel").addEventListener("submit", (event) => {
    event.preventDefault();
    run(apiKey());
  });
  listenToPictures();
  listenToPlacement();
  listenToBrush();
  listenToSettings();
  at("cancel").addEventListener("click", cancel);
  for (const button of document.querySelectorAll(".tool")) {
    button.addEventListener("click", () => {
      state.tool = button.dataset.tool;
      changed();
    });
  }
  at("zoom-in").addEventListener("click", () => zoom(1.5));
  at("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  at("zoom-full").addEventListener("click", () => zoomFull());
  at("zoom-fit").addEventListener("click", zoomFit);
}

function listenToPictures() {
  for (const radio of document.getElementsByName("way")) radio.addEventListener("change", () => chooseWay(radio.value));
  at("choose").addEventListener("change", async ({ target }) => {
    await addAnywhere([...target.files]);
    target.value = "";
  });
  at("start-over").addEventListener("click", () => {
    startOver();
    queueMicrotask(() => at("choose").focus()); // once it is shown
  });
}

function listenToPlacement() {
  at("size").addEventListener("input", ({ target }) => resize(Number(target.value) / 100));
  for (const [id, axis] of [["left", "x"], ["top", "y"]]) {
    at(id).addEventListener("change", ({ target }) => {
      delete target.dataset.shown; // show what became of it, even where that is what there was
      place({ [axis]: Number(target.value) || 0 });
    });
  }
  at("flip").addEventListener("click", () => place({ flip: !state.placement.flip }));
  at("centre").addEventListener("click", centreOnPhoto);
}

function listenToBrush() {
  for (const radio of document.getElementsByName("brush")) {
    radio.addEventListener("change", () => setBrush({ erase: radio.value === "erase" }));
  }
  at("brush-size").addEventListener("input", ({ target }) => setBrush({ size: Number(target.value) }));
  at("undo").addEventListener("click", undo);
  at("clear").addEventListener("click", undoAll);
  for (const name of ["invert", "fit"]) {
    at(name).addEventListener("change", ({ target }) => {
      state[name] = target.checked;
      outdated();
    });
  }
}

function listenToSettings() {
  for (const [name, choices] of [["format", FORMATS], ["keep", KEEP]]) {
    at(name).append(...choices.map(([value, textContent]) => element("option", { value, textContent })));
  }
  at("strength").addEventListener("input", ({ target }) => {
    state.strength = Number(target.value);
    changed();
    runSoon(apiKey());
  });
  for (const name of ["format", "keep", "model"]) {
    at(name).addEventListener("change", ({ target }) => {
      state[name] = target.value;
      runSoon(apiKey());
    });
  }
  at("key").addEventListener("change", loadModels);
}

/** Offer a choice where the server has several models. */
export async function loadModels() {
  try {
    state.models = await listModels(apiKey());
    at("model").replaceChildren(...state.models.map(({ name }) => element("option", { value: name, textContent: name })));
    at("model-row").hidden = state.models.length < 2;
    state.model = state.models.length < 2 ? "" : state.models[0].name;
    state.needsKey = false;
  } catch (error) {
    state.needsKey = error.status === 401; // else harmonizing will say what is wrong
  }
  changed();
}

/** Bring every control in line with the state. */
export function showPanel() {
  const any = Object.values(state.pictures).some(Boolean);
  showSlots();
  for (const radio of document.getElementsByName("way")) radio.checked = radio.value === state.way;
  at("start-over").hidden = !any;
  for (const button of document.querySelectorAll(".tool")) {
    const { tool } = button.dataset;
    button.hidden = tool === "place" && state.way !== "place";
    button.disabled = !base() || !TOOLS[tool]();
    button.setAttribute("aria-pressed", String(Boolean(base()) && state.tool === tool));
  }
  showWelcome();
  showPlacement();
  showMask();
  at("strength").value = state.strength;
  at("strength-now").textContent = state.strength.toFixed(2);
  at("key-row").hidden = !state.needsKey && !at("key").value;
  at("credits").textContent = state.credits;
}

function showWelcome() {
  const given = Object.entries(state.pictures).find(([, picture]) => picture);
  at("welcome-title").textContent = given ? "One more picture" : "Drop your pictures here";
  at("welcome-text").textContent = given
    ? state.way === "place"
      ? "Now add the photo that the cut-out goes on."
      : "Now add the composite that the mask belongs to."
    : "A cut-out and a photo to put it on, or a finished composite and its mask.";
}

function showPlacement() {
  const shown = state.tool === "place" && placed();
  at("place-card").hidden = !shown;
  showHelp();
  if (!shown) return;
  const percent = Math.round(sizeShare() * 100);
  at("size").value = percent;
  at("size").setAttribute("aria-valuetext", `${percent} % of the photo's height`);
  at("size-now").textContent = `${percent} %`;
  const { x, y } = box();
  showNumber(at("left"), x);
  showNumber(at("top"), y);
  at("flip").setAttribute("aria-pressed", String(state.placement.flip));
}

/** Show a number in a field; what somebody types there meanwhile stays. */
function showNumber(field, number) {
  const text = String(Math.round(number));
  if (field.dataset.shown === text) return;
  field.value = field.dataset.shown = text;
}

function showHelp() {
  const [pointer, keys] = !base() ? ["", ""] : state.way === "place" && !placed() ? HELP.background : HELP[state.tool];
  const help = at("stage-help");
  if (help.dataset.shown === pointer) return;
  help.dataset.shown = pointer;
  help.replaceChildren(...(pointer ? [`${pointer} `, element("span", { className: "keys", textContent: keys })] : []));
}

function showMask() {
  const shown = state.tool === "brush" && base();
  at("mask-card").hidden = !shown;
  if (!shown) return;
  const isCutout = state.way === "place";
  at("mask-title").textContent = isCutout ? "Mend the cut-out" : "Mask";
  at("brush-add").textContent = isCutout ? "Bring back" : "Add";
  for (const radio of document.getElementsByName("brush")) radio.checked = (radio.value === "erase") === state.brush.erase;
  at("brush-size").value = state.brush.size;
  at("brush-now").textContent = `${state.brush.size} px`;
  at("undo").disabled = at("clear").disabled = state.strokes[state.way].length === 0;
  at("invert").checked = state.invert;
  at("invert-row").hidden = isCutout || !maskSource();
  const hint = isCutout ? (placed() ? "" : HELP.background[0]) : maskHints().join(" ");
  at("mask-hint").hidden = !hint;
  if (at("mask-hint").textContent !== hint) at("mask-hint").textContent = hint;
  at("fit").checked = state.fit;
  at("fit-row").hidden = !mismatch() || liesOnItsSide();
}
