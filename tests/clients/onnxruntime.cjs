// node onnxruntime.cjs MODEL PICTURES SIDE: prints every output of the model, by its name, as JSON.
const fs = require("node:fs");
const ort = require("onnxruntime-node");

async function main([model, pictures, side]) {
  const session = await ort.InferenceSession.create(model);
  const pixels = new Uint8Array(fs.readFileSync(pictures));
  const shape = [pixels.length / (side * side * 3), Number(side), Number(side), 3];
  const said = await session.run({ image: new ort.Tensor("uint8", pixels, shape) });
  const named = session.outputNames.map((name) => [name, Array.from(said[name].data)]);
  console.log(JSON.stringify(Object.fromEntries(named)));
}

main(process.argv.slice(2));
