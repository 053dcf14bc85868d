// What is probably a mistake about a mask, in sentences, each with what to do.

import { maskLooksInverted } from "./layers.js";
import { liesOnItsSide, maskSource, mismatch, state } from "./state.js";

export function maskHints() {
  if (!maskSource()) return state.pictures.composite ? ["There is no mask yet. Add one, or paint over the pasted object."] : [];
  const hints = [];
  if (liesOnItsSide()) hints.push("The mask lies on its side. It is turned if the photo was turned by its EXIF orientation.");
  else if (mismatch() && !state.fit) hints.push(`${mismatch()} Stretch it if it shows the same view.`);
  if (maskLooksInverted()) {
    hints.push("The mask looks inverted: it covers most of the picture and its corners. It has to be white on the pasted object.");
  }
  return hints;
}
