// How pictures get in: the slots of the panel, files dropped or pasted anywhere, and the rule that finds their slot.

import { placeAtFirst } from "./placement.js";
import { readPicture } from "./reading.js";
import { changed, outdated, state } from "./state.js";

export const SLOTS = {
  cutout: { way: "place", label: "Cut-out", empty: "with a transparent background" },
  background: { way: "place", label: "Photo", empty: "that it goes on" },
  composite: { way: "mask", label: "Composite", empty: "a photo with something pasted on it" },
  mask: { way: "mask", label: "Mask", empty: "white where it was pasted" },
};

/** Put a picture into a slot, or empty it with null. */
export function fill(slot, picture) {
  state.pictures[slot]?.close();
  state.pictures[slot] = picture;
  const { way } = SLOTS[slot];
  if (slot === "cutout" || slot === "composite" || slot === "mask") state.strokes[way] = [];
  if (slot === "composite" || slot === "mask") Object.assign(state, { invert: false, fit: false });
  if (slot === "cutout" || slot === "background") placeAtFirst();
  state.credits = "";
  outdated();
}

export function startOver() {
  for (const slot of Object.keys(SLOTS)) fill(slot, null);
  state.tool = state.way === "place" ? "place" : "brush";
}

export function chooseWay(way) {
  state.way = way;
  state.tool = way === "place" ? "place" : "brush";
  outdated();
}

/** Read a file into the slot that somebody chose for it. */
export async function addTo(slot, file) {
  await guarded(async () => {
    const picture = await readPicture(file);
    if (slot === "cutout") refuseOpaque(picture);
    fill(slot, picture);
  });
}

function refuseOpaque(picture) {
  if (picture.hasAlpha) return;
  picture.close();
  throw new Error(
    `“${picture.name}” has no transparent parts, so there is nothing to cut it out by. Bring a PNG or WebP with a` +
      " transparent background, or choose “Composite” and bring a mask.",
  );
}

/** Read files that came without a slot, and find theirs: by transparency, and by what looks like a mask. */
export async function addAnywhere(files) {
  const images = [...files].filter((file) => file.type.startsWith("image/") || file.type === "");
  if (images.length === 0) {
    report(files.length ? "That is not a picture. Bring a PNG, JPEG or WebP file." : "");
    return;
  }
  await guarded(async () => {
    const pictures = await Promise.all(images.slice(0, 2).map((file) => readPicture(file)));
    if (pictures.some((picture) => picture.looksLikeMask)) state.way = "mask";
    else if (pictures.some((picture) => picture.hasAlpha)) state.way = "place";
    for (const picture of pictures) fill(slotFor(picture), picture);
    state.tool = state.way === "place" ? "place" : "brush";
    changed();
  });
}

function slotFor(picture) {
  if (picture.looksLikeMask) return "mask";
  if (state.way === "mask") return "composite";
  if (picture.hasAlpha) return "cutout";
  if (state.pictures.background && !state.pictures.cutout) refuseOpaque(picture);
  return "background";
}

export function report(sentence) {
  state.error = sentence;
  changed();
}

async function guarded(act) {
  try {
    await act();
  } catch (error) {
    report(error.message || "This picture needs more memory than the browser has. Bring a smaller one.");
  }
}

/** Files that are dropped or pasted anywhere on the page. */
export function listenToDrops() {
  const hint = document.getElementById("drop-hint");
  let depth = 0;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    depth += 1;
    hint.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!holdsFiles(event)) return;
    depth = Math.max(0, depth - 1);
    hint.hidden = depth === 0;
  });
  document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    depth = 0;
    hint.hidden = true;
    if (!holdsFiles(event)) return;
    event.preventDefault();
    const slot = event.target.closest?.("[data-slot]")?.dataset.slot;
    const { files } = event.dataTransfer;
    if (slot && files.length === 1) addTo(slot, files[0]);
    else addAnywhere(files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (!files?.length) return;
    event.preventDefault();
    addAnywhere(files);
  });
}
