// node onnxruntime.cjs MODEL PICTURES SIDE: prints the probabilities of every picture as JSON.
const fs = require("node:fs");
const ort = require("onnxruntime-node");

async function main([model, pictures, side]) {
  const session = await ort.InferenceSession.create(model);
  const pixels = new Uint8Array(fs.readFileSync(pictures));
  const shape = [pixels.length / (side * side * 3), Number(side), Number(side), 3];
  const said = await session.run({ image: new ort.Tensor("uint8", pixels, shape) });
  console.log(JSON.stringify(Array.from(said.probabilities.data)));
}

main(process.argv.slice(2));
