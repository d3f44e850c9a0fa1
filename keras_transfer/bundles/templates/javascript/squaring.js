// Makes pictures square as training did, to the last bit.
// A picture is { data, width, height }: RGBA, four bytes a pixel, as a canvas gives it.

const ONE = 256; // what the weights of the bilinear filter add up to
const NEAR = 3; // where a side shrinks by more than this, what bilinear would skip is averaged first
const SCALES = [1, 2, 4, 8]; // by how much pictures are made smaller first, as decoders do

const BITS = 2 ** 24; // that Pillow divides by, which rounds a few means down that lie half-way

/** Returns a picture as a square, RGB: Uint8Array of size * size * 3. */
export function square(picture, size, aspect) {
  const plane = reduced(onWhite(picture), size, aspect);
  if (aspect === "letterbox") return framed(plane, size);
  return resized(aspect === "crop" ? middle(plane) : plane, size, size).data;
}

function onWhite({ data, width, height }) {
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const clear = 255 - data[from + 3];
    for (let channel = 0; channel < 3; channel++)
      rgb[to++] = clear ? Math.round((data[from + channel] * (255 - clear) + 255 * clear) / 255) : data[from + channel];
  }
  return { data: rgb, width, height };
}

/** Averages whole blocks of pixels while the picture stays as large as its square. */
function reduced(plane, size, aspect) {
  const side = Math[aspect === "letterbox" ? "max" : "min"](plane.width, plane.height);
  const scale = Math.max(...SCALES.filter((each) => each === 1 || side >= each * size));
  if (scale === 1) return plane;
  const [width, height] = [Math.ceil(plane.width / scale), Math.ceil(plane.height / scale)];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let channel = 0; channel < 3; channel++) data[to++] = mean(plane, x * scale, y * scale, scale, channel);
  return { data, width, height };
}

function mean({ data, width, height }, left, top, scale, channel) {
  const [right, bottom] = [Math.min(left + scale, width), Math.min(top + scale, height)];
  let sum = 0;
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += data[(y * width + x) * 3 + channel];
  const count = (right - left) * (bottom - top);
  return Math.floor(((sum + (count >> 1)) * Math.floor(BITS / count)) / BITS);
}

function middle({ data, width, height }) {
  const side = Math.min(width, height);
  const [top, left] = [Math.floor((height - side) / 2), Math.floor((width - side) / 2)];
  const cut = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    const start = ((top + y) * width + left) * 3;
    cut.set(data.subarray(start, start + side * 3), y * side * 3);
  }
  return { data: cut, width: side, height: side };
}

function framed(plane, size) {
  const scale = size / Math.max(plane.height, plane.width);
  const [height, width] = [plane.height, plane.width].map((side) => Math.min(Math.max(even(side * scale), 1), size));
  const [top, left] = [Math.floor((size - height) / 2), Math.floor((size - width) / 2)];
  const inner = resized(plane, height, width).data;
  const data = new Uint8Array(size * size * 3);
  for (let y = 0; y < height; y++)
    data.set(inner.subarray(y * width * 3, (y + 1) * width * 3), ((top + y) * size + left) * 3);
  return data;
}

/** Rounds halves to the even neighbour, as Python does. */
function even(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

function resized(plane, height, width) {
  if (plane.height > NEAR * height || plane.width > NEAR * width)
    plane = averaged(plane, Math.min(plane.height, NEAR * height), Math.min(plane.width, NEAR * width));
  const [columns, rows] = [neighbours(plane.width, width), neighbours(plane.height, height)];
  const data = new Uint8Array(width * height * 3);
  const at = (x, y, channel) => plane.data[(y * plane.width + x) * 3 + channel];
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let channel = 0; channel < 3; channel++) {
        const [above, below] = [rows.first[y], rows.second[y]].map((row) => {
          const share = columns.share[x];
          return at(columns.first[x], row, channel) * (ONE - share) + at(columns.second[x], row, channel) * share;
        });
        data[to++] = (above * (ONE - rows.share[y]) + below * rows.share[y] + (ONE * ONE) / 2) >> 16;
      }
  return { data, width, height };
}

/** For each new pixel of a side the two old ones it lies between, and the share of the second. */
function neighbours(old, size) {
  const [first, second, share] = [new Int32Array(size), new Int32Array(size), new Int32Array(size)];
  for (let place = 0; place < size; place++) {
    const exact = (place + 0.5) * (old / size) - 0.5;
    const low = Math.floor(exact);
    share[place] = low >= 0 && low < old - 1 ? even((exact - low) * ONE) : 0;
    first[place] = Math.min(Math.max(low, 0), old - 1);
    second[place] = Math.min(first[place] + 1, old - 1);
  }
  return { first, second, share };
}

/** A picture made smaller by a triangle as wide as what each new pixel stands for: rows first, then columns. */
function averaged({ data, width, height }, newHeight, newWidth) {
  const rows = triangles(height, newHeight);
  const low = new Float32Array(newHeight * width * 3);
  for (let y = 0; y < newHeight; y++)
    for (let tap = 0; tap < rows.most; tap++) {
      const weight = rows.weights[y * rows.most + tap];
      const from = Math.min(rows.first[y] + tap, height - 1) * width * 3;
      for (let i = 0, to = y * width * 3; i < width * 3; i++, to++) low[to] += Math.fround(weight * data[from + i]);
    }
  const columns = triangles(width, newWidth);
  const small = new Uint8Array(newHeight * newWidth * 3);
  for (let y = 0, to = 0; y < newHeight; y++)
    for (let x = 0; x < newWidth; x++)
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let tap = 0; tap < columns.most; tap++) {
          const from = (y * width + Math.min(columns.first[x] + tap, width - 1)) * 3 + channel;
          sum = Math.fround(sum + Math.fround(columns.weights[x * columns.most + tap] * low[from]));
        }
        small[to++] = Math.fround(sum + 0.5);
      }
  return { data: small, width: newWidth, height: newHeight };
}

function triangles(old, size) {
  const f = Math.fround;
  const step = f(1 / f(size / old));
  const most = Math.min(2 * Math.ceil(step) + 1, old);
  const [first, weights] = [new Int32Array(size), new Float32Array(size * most)];
  for (let place = 0; place < size; place++) {
    const middle = f(f(place + 0.5) * step);
    const clipped = (value) => Math.min(Math.max(value, 0), old - 1);
    first[place] = clipped(Math.ceil(f(f(middle - step) - 0.5)));
    const last = clipped(Math.floor(f(f(middle + step) - 0.5)));
    let total = 0;
    for (let tap = 0; tap < most; tap++) {
      const reached = first[place] + tap;
      const distance = f(Math.abs(f(f(reached + 0.5) - middle)) * f(1 / step));
      weights[place * most + tap] = reached <= last ? Math.max(f(1 - distance), 0) : 0;
      total = f(total + weights[place * most + tap]);
    }
    for (let tap = 0; tap < most; tap++) weights[place * most + tap] *= f(1 / total);
  }
  return { first, weights, most };
}
