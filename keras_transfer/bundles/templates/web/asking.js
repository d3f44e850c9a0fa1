// Asks the worker, and turns files and video frames into the pixels that it takes.

const MOST_PIXELS = 178_956_970; // a picture that has more is no photograph
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let asked = 0;

worker.addEventListener("message", ({ data }) => {
  const { resolve, reject } = waiting.get(data.number);
  waiting.delete(data.number);
  if (data.error) reject(new Error(data.error));
  else resolve({ answer: data.answer, milliseconds: data.milliseconds });
});
worker.addEventListener("error", () => {
  for (const { reject } of waiting.values()) reject(new Error("The part of this page that runs the model did not load."));
  waiting.clear();
});

/** Asks for `about`, to `ask` of a picture, or to `compare` one; resolves to { answer, milliseconds }. */
export function request(what, given = {}) {
  return new Promise((resolve, reject) => {
    const number = ++asked;
    waiting.set(number, { resolve, reject });
    worker.postMessage({ number, what, ...given }, given.picture ? [given.picture.data.buffer] : []);
  });
}

/** Returns a file as an upright bitmap; throws a sentence where it is no picture. */
export async function bitmapOf(file) {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    if (bitmap.width * bitmap.height > MOST_PIXELS) throw new Error();
    return bitmap;
  } catch {
    throw new Error(`${file.name ?? "This"} is no picture that this browser can read.`);
  }
}

/** Returns the pixels of a bitmap or a video frame, what is clear on white. */
export function pixelsOf(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  brush.fillStyle = "#fff";
  brush.fillRect(0, 0, width, height);
  brush.drawImage(source, 0, 0, width, height);
  return { data: brush.getImageData(0, 0, width, height).data, width, height };
}
