// A file becomes a picture of the page.

import { offload } from "./offload.js";
import { Picture } from "./pictures.js";

/** A picture of a file. Throws an Error whose message is a sentence for the user. */
export async function readPicture(file, name = file.name || "pasted.png") {
  let pixels;
  try {
    pixels = await offload("readPixels", file);
  } catch (error) {
    if (/memory|no room/.test(error.message)) throw error;
    throw new Error(`“${name}” is not a picture that this browser can show. Bring a PNG, JPEG or WebP file.`);
  }
  return new Picture(file, name, pixels);
}
