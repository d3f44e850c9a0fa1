// node stream.mjs FOLDER FRAMES SIDE EVERY: prints what the pair in the folder says of a stream of frames, as JSON.
import fs from "node:fs";
import ort from "onnxruntime-node";
import { answers, open } from "../../keras_transfer/export/stream.mjs";

const [folder, file, side, every] = process.argv.slice(2);
const pixels = new Uint8Array(fs.readFileSync(file));

async function* camera() {
  const size = side * side * 3;
  for (let start = 0; start < pixels.length; start += size) yield pixels.slice(start, start + size);
}

const pair = await open(ort, `${folder}/frame.onnx`, `${folder}/window.onnx`);
const said = [];
for await (const each of answers(pair, camera(), { every: Number(every) })) said.push(Array.from(each));
console.log(JSON.stringify({ said, side: pair.side, length: pair.length }));
