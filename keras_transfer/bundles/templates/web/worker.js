// Opens the model and answers for it, beside the page, so that nothing a person does waits for it.
import * as ort from "./vendor/onnxruntime-web/dist/ort.wasm.min.mjs";
import { Model } from "./model/model.js";

// The smallest module that uses 128-bit vectors, without which this runtime does not start.
const VECTORS = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

let opened;

async function open() {
  if (!WebAssembly.validate(VECTORS))
    throw new Error("This browser runs no WebAssembly with SIMD, which the model needs: use a newer one.");
  ort.env.wasm.wasmPaths = new URL("./vendor/onnxruntime-web/dist/", import.meta.url).href;
  ort.env.wasm.numThreads = 1; // several want headers that a plain static server does not send
  const about = await (await fetched("bundle.json")).json();
  const content = new Uint8Array(await (await fetched(about.file)).arrayBuffer());
  if (crypto.subtle && (await digest(content)) !== about.sha256)
    throw new Error(`${about.file} is not the file that was proven: its SHA-256 is another.`);
  return Model.open(ort, about, content);
}

async function fetched(path) {
  const response = await fetch(new URL(path, import.meta.url));
  if (!response.ok) throw new Error(`${path} is not beside this page (${response.status}).`);
  return response;
}

async function digest(content) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const ASKED = {
  about: (model) => model.about,
  ask: (model, { picture }) => model.ask(picture),
  compare: (model, { picture, golden }) => model.compare(picture, golden),
};

addEventListener("message", async ({ data }) => {
  try {
    const model = await (opened ??= open());
    const started = performance.now();
    const answer = await ASKED[data.what](model, data);
    postMessage({ number: data.number, answer, milliseconds: performance.now() - started });
  } catch (error) {
    postMessage({ number: data.number, error: error.message ?? String(error) });
  }
});
