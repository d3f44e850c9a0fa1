// A picture model for Node: opened in ONNX Runtime's WebAssembly, which comes along and runs on every platform.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import * as ort from "./vendor/onnxruntime-web/dist/ort.wasm.min.mjs";
import { Model } from "./model/model.js";
import { decoded } from "./pictures.js";

export { PictureError, decoded } from "./pictures.js";

const beside = (path) => new URL(path, import.meta.url);
const json = async (path) => JSON.parse(await readFile(beside(path), "utf8"));

/** What the model is, which classes it knows, how pictures must come: `bundle.json`. */
export const about = await json("bundle.json");

/** Opens the model; throws where it is not the file that was proven. */
export async function open() {
  const content = await readFile(beside(about.file));
  const digest = createHash("sha256").update(content).digest("hex");
  if (digest !== about.sha256) throw new Error(`${about.file} is not the file that was proven: its SHA-256 is ${digest}.`);
  ort.env.wasm.wasmPaths = beside("vendor/onnxruntime-web/dist/").href;
  ort.env.wasm.numThreads = 1;
  const model = await Model.open(ort, about, content);
  return {
    about,
    ask: async (picture) => model.ask(await pixelsOf(picture)),
    compare: async (picture, golden) => model.compare(await pixelsOf(picture), golden),
  };
}

/** Compares the answers to the golden pictures with what they must be, one row each. */
export async function selftest(opened) {
  const model = opened ?? (await open());
  const rows = [];
  for (const { file, answer } of (await json("golden.json")).pictures) {
    const compared = await model.compare(await readFile(beside(file)), answer);
    rows.push({ picture: file, ...compared });
  }
  return rows;
}

/** A path, a URL of a file, encoded bytes, or pixels that are there already. */
async function pixelsOf(picture) {
  if (picture instanceof Uint8Array) return decoded(picture);
  if (typeof picture === "string" || picture instanceof URL) return decoded(await readFile(picture), String(picture));
  return picture;
}
