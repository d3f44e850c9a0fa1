// Decodes PNG and JPEG files into upright pixels.
import jpeg from "./vendor/jpeg-js/index.js";
import png from "./vendor/pngjs/lib/png.js";

const MOST_PIXELS = 178_956_970; // a picture that declares more is no photograph
const MOST_MEGABYTES = 2048;

/** A picture cannot be read; the message says why, in one sentence. */
export class PictureError extends Error {}

/** Returns an encoded picture as { data, width, height }, RGBA, as a person sees it. */
export function decoded(encoded, name = "The picture") {
  const kind = KINDS.find(({ start }) => start.every((byte, place) => encoded[place] === byte));
  if (!kind) throw new PictureError(`${name} is neither a PNG nor a JPEG file. Decode it first and give { data, width, height }.`);
  try {
    return kind.decode(encoded);
  } catch (error) {
    throw new PictureError(`${name} cannot be read: ${error.message ?? error}`);
  }
}

function ofPng(encoded) {
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  if (view.getUint32(16) * view.getUint32(20) > MOST_PIXELS) throw new Error("it declares more pixels than any photograph");
  const { data, width, height } = png.PNG.sync.read(Buffer.from(encoded));
  return { data, width, height };
}

function ofJpeg(encoded) {
  const limits = { maxResolutionInMP: MOST_PIXELS / 1e6, maxMemoryUsageInMB: MOST_MEGABYTES };
  const { data, width, height, exifBuffer } = jpeg.decode(encoded, { useTArray: true, formatAsRGBA: true, ...limits });
  return turned({ data, width, height }, orientation(exifBuffer));
}

/** The Exif tag Orientation (Exif 2.32, 4.6.4 A); 1, upright, where it is not noted. */
function orientation(exif) {
  if (!exif || exif.length < 14) return 1;
  const bytes = exif.subarray(1); // the decoder leaves the last byte of "Exif\0\0" before the TIFF header
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getUint16(0) === 0x4949;
  const first = view.getUint32(4, little);
  if (first + 2 > view.byteLength) return 1;
  for (let entry = 0; entry < view.getUint16(first, little); entry++) {
    const place = first + 2 + entry * 12;
    if (place + 12 > view.byteLength) return 1;
    if (view.getUint16(place, little) === 0x0112) return view.getUint16(place + 8, little);
  }
  return 1;
}

/** Where a pixel of the upright picture is in the stored one, by orientation: (x, y, last column, last row). */
const FROM = {
  2: (x, y, right) => [right - x, y],
  3: (x, y, right, bottom) => [right - x, bottom - y],
  4: (x, y, right, bottom) => [x, bottom - y],
  5: (x, y) => [y, x],
  6: (x, y, right, bottom) => [y, bottom - x],
  7: (x, y, right, bottom) => [right - y, bottom - x],
  8: (x, y, right) => [right - y, x],
};

function turned(picture, noted) {
  if (!FROM[noted]) return picture;
  const [width, height] = noted > 4 ? [picture.height, picture.width] : [picture.width, picture.height];
  const from = new Uint32Array(picture.data.buffer, picture.data.byteOffset, picture.width * picture.height);
  const to = new Uint32Array(width * height);
  for (let y = 0, place = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [column, row] = FROM[noted](x, y, picture.width - 1, picture.height - 1);
      to[place++] = from[row * picture.width + column];
    }
  return { data: new Uint8Array(to.buffer), width, height };
}

const KINDS = [
  { start: [0x89, 0x50, 0x4e, 0x47], decode: ofPng },
  { start: [0xff, 0xd8, 0xff], decode: ofJpeg },
];
