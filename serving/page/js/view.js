// Where the picture lies on the stage: zoom and pan, in device pixels of the canvas.

export const view = {
  /** Device pixels for one pixel of the picture. */
  scale: 1,
  x: 0,
  y: 0,
  /** Size of the canvas, and its device pixels for one of CSS. */
  width: 1,
  height: 1,
  ratio: 1,
  /** It follows the window's size until somebody zooms. */
  fitted: true,
};

const MOST = 16;
const MARGIN = 0;

export function fitScale(picture) {
  const room = 1 - 2 * MARGIN;
  return Math.min((view.width * room) / picture.width, (view.height * room) / picture.height);
}

export function fit(picture) {
  view.scale = fitScale(picture);
  view.fitted = true;
  centre(picture);
}

function centre(picture) {
  view.x = (view.width - picture.width * view.scale) / 2;
  view.y = (view.height - picture.height * view.scale) / 2;
}

/** Zoom to `scale`, keeping the point (x, y) of the canvas where it is. */
export function zoomTo(picture, scale, x = view.width / 2, y = view.height / 2) {
  const least = Math.min(fitScale(picture), 1);
  const next = Math.min(MOST, Math.max(least, scale));
  view.x = x - ((x - view.x) / view.scale) * next;
  view.y = y - ((y - view.y) / view.scale) * next;
  view.scale = next;
  view.fitted = next === least && least === fitScale(picture);
  settle(picture);
}

export function pan(picture, dx, dy) {
  view.x += dx;
  view.y += dy;
  settle(picture);
}

/** Keep the picture on the stage: centred where it is smaller, without gaps where it is larger. */
export function settle(picture) {
  const settled = (at, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
  view.x = settled(view.x, picture.width * view.scale, view.width);
  view.y = settled(view.y, picture.height * view.scale, view.height);
}

/** A point of the canvas in pixels of the picture. */
export function toPicture(x, y) {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}

export function toCanvas(x, y) {
  return [view.x + x * view.scale, view.y + y * view.scale];
}

/** Left and right end of what is visible of the picture, in canvas pixels. */
export function visibleSpan(picture) {
  return [Math.max(0, view.x), Math.min(view.width, view.x + picture.width * view.scale)];
}
