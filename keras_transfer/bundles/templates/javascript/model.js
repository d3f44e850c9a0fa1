// The model, open in ONNX Runtime's WebAssembly: pictures in, what they say out.
import { classesOf, difference, read } from "./answers.js";
import { square } from "./squaring.js";

export class Model {
  /** Opens a model: `ort` is ONNX Runtime, `about` is bundle.json, `content` the bytes of the file. */
  static async open(ort, about, content) {
    const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
    return new Model(ort, about, session);
  }

  constructor(ort, about, session) {
    Object.assign(this, { ort, about, session });
    const shape = session.inputMetadata?.[0]?.shape;
    this.channelsFirst = shape?.[1] === 3;
  }

  /** Returns every output for one picture, { data, width, height } in RGBA, by its name, as the file gives it. */
  async outputs(picture) {
    const size = this.about.image_size;
    const pixels = square(picture, size, this.about.aspect);
    const image = this.channelsFirst
      ? new this.ort.Tensor("uint8", turned(pixels, size), [1, 3, size, size])
      : new this.ort.Tensor("uint8", pixels, [1, size, size, 3]);
    const said = await this.session.run({ [this.session.inputNames[0]]: image });
    const names = this.about.outputs.map(({ name }) => name);
    const found = this.session.outputNames;
    const keys = names.every((name) => found.includes(name)) ? names : found;
    return Object.fromEntries(names.map((name, place) => [name, said[keys[place]].data]));
  }

  /** Returns what the model says of a picture; a segmenter also the class of every pixel of its square. */
  async ask(picture) {
    const outputs = await this.outputs(picture);
    const said = read(outputs, this.about);
    return this.about.task === "segmentation" ? { ...said, classes: classesOf(outputs, this.about) } : said;
  }

  /** Returns how far the answer to a picture is from the golden one, and whether that is near enough. */
  async compare(picture, golden) {
    const far = difference(await this.outputs(picture), golden, this.about);
    return { difference: far, passed: far <= this.about.tolerance };
  }
}

function turned(pixels, size) {
  const planes = new Uint8Array(pixels.length);
  for (let place = 0; place < size * size; place++)
    for (let channel = 0; channel < 3; channel++)
      planes[channel * size * size + place] = pixels[place * 3 + channel];
  return planes;
}
