// What answers say, in plain values, and how far they are from the golden ones; a function a task.
// Outputs are { name: Float32Array }; `about` is bundle.json.

const SAME_PLACE = 0.9; // overlap from which two boxes are the same box

/** Returns what the outputs for one picture say, the most important first. */
export function read(outputs, about) {
  return READ[about.task](outputs, about);
}

/**
 * Returns how far the outputs for one picture are from the golden answer: 0 where they are the same.
 *
 * Of probabilities, embeddings and scores the largest difference; of masks the share of pixels of another class; 1 where
 * a box has no counterpart.
 */
export function difference(outputs, golden, about) {
  return DIFFERENCE[about.task](outputs, golden, about);
}

/** Returns the class of every pixel, row by row. */
export function classesOf(outputs, about) {
  const count = about.class_names.length;
  const maps = outputs.probabilities;
  const classes = new Uint8Array(maps.length / count);
  for (let pixel = 0; pixel < classes.length; pixel++) {
    let best = 0;
    for (let each = 1; each < count; each++)
      if (maps[pixel * count + each] > maps[pixel * count + best]) best = each;
    classes[pixel] = best;
  }
  return classes;
}

function ranked(values, names) {
  return [...values]
    .map((share, place) => ({ name: names[place], share, place }))
    .sort((one, other) => other.share - one.share || one.place - other.place);
}

function byName(rows) {
  return Object.fromEntries(rows.map(({ name, share }) => [name, share]));
}

function ofClass({ probabilities }, { class_names }) {
  const rows = ranked(probabilities, class_names);
  return { class_name: rows[0].name, probability: rows[0].share, probabilities: byName(rows) };
}

function ofLabels({ probabilities }, { class_names, thresholds }) {
  const rows = ranked(probabilities, class_names);
  const said = rows.filter(({ share, place }) => share >= Math.fround(thresholds[place]));
  return { labels: said.map(({ name }) => name), probabilities: byName(rows) };
}

function ofAreas(outputs, about) {
  const classes = classesOf(outputs, about);
  const shares = new Float64Array(about.class_names.length);
  for (const each of classes) shares[each] += 1 / classes.length;
  const rows = ranked(shares, about.class_names).filter(({ share }) => share > 0);
  return { largest: rows[0].name, areas: byName(rows) };
}

function ofFound(outputs, { class_names, thresholds }) {
  const boxes = boxesOf(outputs)
    .filter(({ category, score }) => score >= thresholds[category])
    .map(({ category, score, box }) => ({ class_name: class_names[category], score, box }));
  return { count: boxes.length, boxes };
}

function ofPlace({ embedding }) {
  return { embedding: [...embedding] };
}

function boxesOf(outputs) {
  const count = Math.round(outputs["number of detections"][0]);
  return Array.from({ length: count }, (_, place) => ({
    category: Math.round(outputs.category[place]),
    score: outputs.score[place],
    box: [...outputs.location.subarray(place * 4, place * 4 + 4)],
  }));
}

function ofVector(name) {
  return (outputs, golden) =>
    golden[name].reduce((most, wanted, place) => Math.max(most, Math.abs(outputs[name][place] - wanted)), 0);
}

function ofClasses(outputs, golden, about) {
  const classes = classesOf(outputs, about);
  let [place, wrong] = [0, 0];
  for (const [wanted, count] of golden.classes)
    for (let times = 0; times < count; times++) wrong += classes[place++] !== wanted;
  return wrong / classes.length;
}

/** Boxes that lie at their threshold to within the tolerance may be there or not. */
function ofBoxes(outputs, golden, { thresholds, tolerance }) {
  const found = boxesOf(outputs);
  const sure = ({ category, score }) => score >= thresholds[category] + tolerance;
  const far = [
    ...golden.boxes.filter(sure).map((each) => nearest(each, found)),
    ...found.filter(sure).map((each) => nearest(each, golden.boxes)),
  ];
  return Math.max(0, ...far);
}

function nearest(box, others) {
  const same = others.filter((each) => each.category === box.category && overlap(each.box, box.box) >= SAME_PLACE);
  return Math.min(1, ...same.map((each) => Math.abs(each.score - box.score)));
}

function overlap(one, other) {
  const high = Math.max(Math.min(one[2], other[2]) - Math.max(one[0], other[0]), 0);
  const wide = Math.max(Math.min(one[3], other[3]) - Math.max(one[1], other[1]), 0);
  const areas = [one, other].map(([top, left, bottom, right]) => (bottom - top) * (right - left));
  return (high * wide) / Math.max(areas[0] + areas[1] - high * wide, 1e-12);
}

const READ = {
  classification: ofClass,
  multilabel: ofLabels,
  segmentation: ofAreas,
  detection: ofFound,
  embedding: ofPlace,
};
const DIFFERENCE = {
  classification: ofVector("probabilities"),
  multilabel: ofVector("probabilities"),
  segmentation: ofClasses,
  detection: ofBoxes,
  embedding: ofVector("embedding"),
};
