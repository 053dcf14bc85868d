// Opaque PNGs (W3C PNG, second edition): a worker's canvas writes an alpha channel even where it has none, and then the
// server's answer would have one.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0;
const RGB = 2;
/** Each byte is stored as its difference to the pixel on the left, which packs well. */
const SUB = 1;
const ROWS_AT_ONCE = 256;

/**
 * A PNG of what a canvas shows, without alpha.
 *
 * @param {OffscreenCanvasRenderingContext2D} context
 * @param {boolean} grey write the red channel alone
 */
export async function opaquePng(context, grey = false) {
  const { width, height } = context.canvas;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, grey ? GREY : RGB], 8);
  const packed = new Response(rows(context, grey ? 1 : 3).pipeThrough(new CompressionStream("deflate")));
  const data = new Uint8Array(await packed.arrayBuffer());
  return new Blob([new Uint8Array(SIGNATURE), ...chunk("IHDR", header), ...chunk("IDAT", data), ...chunk("IEND", new Uint8Array())], {
    type: "image/png",
  });
}

/** The filtered rows, some at a time. */
function rows(context, channels) {
  const { width, height } = context.canvas;
  let top = 0;
  return new ReadableStream({
    pull(controller) {
      if (top >= height) {
        controller.close();
        return;
      }
      const count = Math.min(ROWS_AT_ONCE, height - top);
      const { data } = context.getImageData(0, top, width, count);
      controller.enqueue(filtered(data, width, count, channels));
      top += count;
    },
  });
}

function filtered(data, width, count, channels) {
  const result = new Uint8Array(count * (1 + width * channels));
  let to = 0;
  for (let y = 0; y < count; y += 1) {
    result[to] = SUB;
    to += 1;
    for (let x = 0; x < width; x += 1) {
      const from = 4 * (y * width + x);
      for (let c = 0; c < channels; c += 1) {
        result[to] = data[from + c] - (x ? data[from - 4 + c] : 0);
        to += 1;
      }
    }
  }
  return result;
}

/** Length, name, data and check sum. */
function chunk(name, data) {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setUint32(0, data.length);
  for (let i = 0; i < 4; i += 1) head[4 + i] = name.charCodeAt(i);
  const tail = new Uint8Array(4);
  new DataView(tail.buffer).setUint32(0, checkSum(head.subarray(4), data));
  return [head, data, tail];
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 of several pieces. */
function checkSum(...pieces) {
  let sum = 0xffffffff;
  for (const piece of pieces) {
    for (let i = 0; i < piece.length; i += 1) sum = TABLE[(sum ^ piece[i]) & 0xff] ^ (sum >>> 8);
  }
  return ~sum >>> 0;
}
