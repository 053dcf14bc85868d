// The divider between before and after: by pointer, and as a slider by keyboard.

import { onCanvas, setSplit, splitAt } from "./stage.js";
import { state } from "./state.js";

const STEP = 0.01;
const LEAP = 0.1;

export function listenToDivider() {
  const divider = document.getElementById("divider");
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    divider.focus({ focusVisible: false });
    event.preventDefault();
  });
  divider.addEventListener("pointermove", (event) => {
    if (divider.hasPointerCapture(event.pointerId)) setSplit(splitAt(onCanvas(event)[0]));
  });
  divider.addEventListener("keydown", (event) => {
    const next = {
      ArrowLeft: state.split - (event.shiftKey ? LEAP : STEP),
      ArrowDown: state.split - (event.shiftKey ? LEAP : STEP),
      ArrowRight: state.split + (event.shiftKey ? LEAP : STEP),
      ArrowUp: state.split + (event.shiftKey ? LEAP : STEP),
      PageDown: state.split - LEAP,
      PageUp: state.split + LEAP,
      Home: 0,
      End: 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    setSplit(next);
  });
  setSplit(state.split);
}
