// Answers about a live video by the two files of `stream-onnx`: each frame goes through the backbone once.
//
//   import * as ort from "onnxruntime-web"; // or: import ort from "onnxruntime-node"
//   import { answers, open } from "./stream.mjs";
//
//   const pair = await open(ort, "stream-onnx/frame.onnx", "stream-onnx/window.onnx");
//   for await (const probabilities of answers(pair, camera, { every: 6 })) show(probabilities);
//
// `camera` is an iterable, or an asynchronous one, of frames: each a Uint8Array of RGB, row by row, `pair.side` pixels
// high and wide. `every`: frames from one that is looked at to the next, the `spacing` of the contract in
// exports/manifest.json times the frames a second of the camera; it need not be a whole number.

/**
 * Open the two files in ONNX Runtime.
 * @returns {{length: number, side: number, describe: Function, judge: Function}} `describe`: pixels to the features of
 *   a frame; `judge`: the features of `length` frames, one after another, to the probability of each class. Any other
 *   runtime that gives these four serves `answers` as well.
 */
export async function open(ort, frame, window, options = {}) {
  const describing = await ort.InferenceSession.create(frame, options);
  const judging = await ort.InferenceSession.create(window, options);
  const side = describing.inputMetadata[0].shape[1];
  const [, length, numbers] = judging.inputMetadata[0].shape;
  return {
    length,
    side,
    async describe(pixels) {
      const image = new ort.Tensor("uint8", pixels, [1, side, side, 3]);
      return (await describing.run({ image })).features.data;
    },
    async judge(rows) {
      const features = new ort.Tensor("float32", rows, [1, length, numbers]);
      return (await judging.run({ features })).probabilities.data;
    },
  };
}

/** Yield the probability of each class, by the latest frames, each time that one more was looked at. */
export async function* answers(pair, frames, { every = 1 } = {}) {
  const ring = [];
  let number = 0;
  let taken = 0;
  for await (const pixels of frames) {
    if (number++ < taken * every) continue;
    taken += 1;
    ring.push(await pair.describe(pixels));
    if (ring.length > pair.length) ring.shift();
    if (ring.length === pair.length) yield await pair.judge(joined(ring));
  }
}

function joined(ring) {
  const rows = new Float32Array(ring.length * ring[0].length);
  ring.forEach((features, place) => rows.set(features, place * features.length));
  return rows;
}
