// Examples with one click. The pictures come with the package; examples/CREDITS.md of the repository says whose they are.

import { readPicture } from "./reading.js";
import { element } from "./slots.js";
import { fill, report } from "./sources.js";
import { state } from "./state.js";

const EXAMPLES = [
  {
    title: "A lemur at sunset",
    thumbnail: "lemur_thumbnail.webp",
    way: "place",
    files: { background: "meadow.jpg", cutout: "lemur.webp" },
    placement: { x: 520, y: 310, scale: 1.11, flip: false },
    credits: "Lemur: Mathias Appel (CC0), matte by the pymatting authors. Meadow: “seeding” by Clemens Engelhardt (CC0).",
  },
  {
    title: "A day bus at night",
    thumbnail: "bus_thumbnail.webp",
    way: "mask",
    files: { composite: "bus.jpg", mask: "bus_mask.png" },
    credits: "Bus: COCO 423617 (CC BY 2.0), polygon by COCO's annotators. Street: facade_0084 of a-hwang/building-facade-segmentation (CC BY 4.0), scaled.",
  },
];

export function showExamples() {
  const list = document.getElementById("examples");
  list.append(
    ...EXAMPLES.map((example) => {
      const button = element("button", { type: "button", className: "example" });
      button.append(element("img", { src: `examples/${example.thumbnail}`, alt: "", width: 116, height: 116 }), example.title);
      button.addEventListener("click", () => load(example));
      const item = element("li", {});
      item.append(button);
      return item;
    }),
  );
}

async function load(example) {
  try {
    const pictures = await Promise.all(Object.entries(example.files).map(async ([slot, name]) => [slot, await fetched(name)]));
    state.way = example.way;
    for (const [slot, picture] of pictures) fill(slot, picture);
    if (example.placement) state.placement = { ...example.placement };
    state.tool = example.way === "place" ? "place" : "brush";
    state.credits = example.credits;
  } catch {
    report("The example could not be loaded. See whether the server is still running, then try again.");
  }
}

async function fetched(name) {
  const response = await fetch(`examples/${name}`);
  if (!response.ok) throw new Error(name);
  return readPicture(await response.blob(), name);
}
