// The stamp on top of tring's test pattern: frame number and time, readable after any codec and scaling.
//
// 64 blocks, 32 a row, each as high as wide; black is 0, white 1; from the left, top row first, highest bit first:
// 24 bits of frame number, 32 bits of Unix time in ms, 8 bits of CRC over these seven bytes (polynomial 0x07, start 0xFF).

const COLUMNS = 32, ROWS = 2;

// How far a codec may blur a block, as RGB; what lies between is no stamp.
const BLACK_READ_MAX = 75, WHITE_READ_MIN = 179;

export const stampHeight = (width) => Math.floor(ROWS * width / COLUMNS);

// Draws a stamp on a 2D context as wide as `width`.
export function drawStamp(context, width, counter, sentMs) {
  const payload = toBytes(counter, sentMs);
  const bits = [...payload, crc8(payload)].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => byte >> bit & 1));
  context.fillStyle = "black";
  context.fillRect(0, 0, width, stampHeight(width));
  context.fillStyle = "white";
  bits.forEach((bit, n) => {
    const [row, column] = [Math.floor(n / COLUMNS), n % COLUMNS];
    const [left, top] = [extent(column, width), extent(row, width)];
    if (bit) context.fillRect(left, top, extent(column + 1, width) - left, extent(row + 1, width) - top);
  });
}

// Reads the stamp of a video's current picture; null when there is none.
export class StampReader {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  }

  read(video) {
    const width = video.videoWidth, height = stampHeight(width);
    if (width < COLUMNS * 4 || height > video.videoHeight) return null;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(video, 0, 0, width, height, 0, 0, width, height);
    const pixels = this.context.getImageData(0, 0, width, height).data;
    const read = new Uint8Array(8);
    for (let n = 0; n < COLUMNS * ROWS; n++) {
      const mean = blockMean(pixels, width, Math.floor(n / COLUMNS), n % COLUMNS);
      if (mean > BLACK_READ_MAX && mean < WHITE_READ_MIN) return null;
      read[n >> 3] = read[n >> 3] << 1 | (mean >= WHITE_READ_MIN);
    }
    const view = new DataView(read.buffer);
    return crc8(read.subarray(0, 7)) === read[7] ? { counter: view.getUint32(0) >>> 8, sentMs: view.getUint32(3) } : null;
  }
}

// The middle of a block, away from the blur at its edges. Black and white are grey: one channel tells all.
function blockMean(pixels, width, row, column) {
  const [left, right] = innerHalf(extent(column, width), extent(column + 1, width));
  const [top, bottom] = innerHalf(extent(row, width), extent(row + 1, width));
  let sum = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) sum += pixels[4 * (y * width + x) + 1];
  }
  return sum / ((right - left) * (bottom - top));
}

const extent = (n, width) => Math.floor(n * width / COLUMNS);

function innerHalf(from, to) {
  const margin = Math.floor((to - from) / 4);
  return [from + margin, to - margin];
}

function toBytes(counter, sentMs) {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, counter << 8);
  view.setUint32(3, sentMs);
  return new Uint8Array(view.buffer, 0, 7);
}

function crc8(bytes) {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x80 ? crc << 1 ^ 0x07 : crc << 1) & 0xff;
  }
  return crc;
}
