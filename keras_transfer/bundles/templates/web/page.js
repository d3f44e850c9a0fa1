// The page: pictures that are dropped or chosen, the camera, and the self-test.
import { bitmapOf, pixelsOf, request } from "./asking.js";
import { bars, element, overlay, percent } from "./drawing.js";
import * as gallery from "./gallery.js";

const MOST_SHOWN = 24; // answers that stay on the page
const MOST_SIDE = 1280; // pixels of a picture as it is shown
const TOLD_EVERY = 2000; // milliseconds between two answers to the camera that are read aloud

const find = (name) => document.getElementById(name);
const cosine = (value) => value.toFixed(2);

function say(sentence, kind = "") {
  Object.assign(find("status"), { textContent: sentence, className: kind });
}

/** What is said of a picture, in a sentence. */
function sentence(answer, about) {
  if (about.task === "multilabel") return answer.labels.join(", ") || "none of its labels";
  if (about.task === "segmentation") return `mostly ${answer.largest}`;
  if (about.task === "detection") return answer.count ? `${answer.count} found` : "nothing found";
  if (about.task === "embedding") return nearest(answer);
  return `${answer.class_name}, ${percent(answer.probability)}`;
}

function nearest({ ranked, same }) {
  if (!ranked.length) return "the first picture: add another to compare";
  const [name, value] = ranked[0];
  return same ? `the same as ${name} (cosine ${cosine(value)})` : `none of them: ${name} is nearest (cosine ${cosine(value)})`;
}

/** The details of an answer: bars, or a list of boxes. */
function details(answer, about) {
  const place = (name) => about.class_names.indexOf(name);
  const shares = answer.probabilities ?? answer.areas;
  if (shares) {
    const coloured = about.task === "segmentation" ? place : null;
    return bars(shares, { said: answer.labels ?? [], place: coloured, caption: "Classes and their shares" });
  }
  if (answer.boxes) {
    const rows = answer.boxes.map(({ class_name, score }) => element("li", { textContent: `${class_name} ${percent(score)}` }));
    return element("ul", { className: "found" }, ...rows);
  }
  const told = element("p", { className: "soft", textContent: `From cosine ${cosine(about.thresholds[0])} on it is taken for the same.` });
  const rows = Object.fromEntries(answer.ranked);
  return answer.ranked.length ? element("div", {}, told, bars(rows, { told: cosine, caption: "The nearest and their cosines" })) : told;
}

function canvasOf(source, width, height) {
  const scale = Math.min(1, MOST_SIDE / Math.max(width, height));
  const canvas = element("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Asks about a picture; an embedding is compared with those that are known. */
async function ask(picture, about) {
  const said = await request("ask", { picture });
  return about.task === "embedding" ? { ...said, answer: gallery.compared(said.answer, about) } : said;
}

async function show(file, about) {
  const bitmap = await bitmapOf(file);
  const { answer, milliseconds } = await ask(pixelsOf(bitmap, bitmap.width, bitmap.height), about);
  if (answer.embedding) gallery.add(file.name, answer.embedding);
  const canvas = canvasOf(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  overlay(canvas, answer, about);
  const told = sentence(answer, about);
  Object.assign(canvas, { role: "img", ariaLabel: `${file.name}: ${told}` });
  const card = element(
    "li",
    { className: "card" },
    element("div", { className: "picture" }, canvas),
    element(
      "div",
      {},
      element("h3", { textContent: told }),
      element("p", { className: "soft", textContent: `${file.name}, ${milliseconds.toFixed(0)} ms` }),
      details(answer, about),
    ),
  );
  find("answers").prepend(card);
  while (find("answers").children.length > MOST_SHOWN) find("answers").lastChild.remove();
  return `${file.name}: ${told}`;
}

async function showAll(files, about) {
  let last = "";
  for (const [done, file] of [...files].entries()) {
    if (files.length > 1) say(`Picture ${done + 1} of ${files.length} …`);
    try {
      last = await show(file, about);
      say(last);
    } catch (error) {
      say(error.message, "bad");
    }
  }
}

const REFUSED = {
  NotAllowedError: "The camera was denied. Allow it beside the address of this page, then press the button again.",
  NotFoundError: "There is no camera here: drop pictures instead.",
  NotReadableError: "The camera is used by another program. Close that, then press the button again.",
};

const camera = { stream: null, told: 0 };

async function startCamera(about) {
  if (!navigator.mediaDevices) throw new Error("Browsers give cameras to pages from https:// and from localhost only.");
  camera.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch((error) => {
    throw new Error(REFUSED[error.name] ?? `The camera does not start: ${error.message}`);
  });
  const video = find("video");
  video.srcObject = camera.stream;
  await video.play();
  find("live").hidden = false;
  find("camera").textContent = "Stop the camera";
  say("The camera is on. What it sees stays in this browser.");
  watch(about, video);
}

async function watch(about, video) {
  const canvas = find("over");
  while (camera.stream) {
    const [width, height] = [video.videoWidth, video.videoHeight];
    const { answer, milliseconds } = await ask(pixelsOf(video, width, height), about);
    if (!camera.stream) break;
    Object.assign(canvas, { width, height });
    overlay(canvas, answer, about);
    find("now").replaceChildren(
      element("h3", { textContent: sentence(answer, about) }),
      element("p", { className: "soft", textContent: `${milliseconds.toFixed(0)} ms a picture` }),
      details(answer, about),
    );
    if (performance.now() - camera.told > TOLD_EVERY) {
      camera.told = performance.now();
      find("aloud").textContent = sentence(answer, about);
    }
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  for (const track of camera.stream.getTracks()) track.stop();
  camera.stream = null;
  find("live").hidden = true;
  find("camera").textContent = "Use the camera";
  say("The camera is off.");
}

async function selftest() {
  find("selftest").disabled = true;
  const rows = find("compared");
  rows.replaceChildren();
  let failed = 0;
  const { pictures } = await (await fetch("golden.json")).json();
  for (const { file, answer: golden } of pictures) {
    const bitmap = await bitmapOf(await (await fetch(file)).blob());
    const picture = pixelsOf(bitmap, bitmap.width, bitmap.height);
    const { answer } = await request("compare", { picture, golden });
    failed += !answer.passed;
    rows.append(
      element(
        "tr",
        {},
        element("td", {}, element("img", { src: file, alt: "", width: 40, height: 40 })),
        element("th", { scope: "row", textContent: file.replace("golden/", "") }),
        element("td", { className: "number", textContent: answer.difference.toExponential(1) }),
        element("td", { className: answer.passed ? "good" : "bad", textContent: answer.passed ? "pass" : "FAIL" }),
      ),
    );
  }
  find("tested").hidden = false;
  const verdict = failed ? "failed" : "passed";
  document.documentElement.dataset.selftest = verdict;
  say(`Self-test ${verdict}: ${pictures.length - failed} of ${pictures.length} pictures.`, failed ? "bad" : "good");
  find("selftest").disabled = false;
}

/** Runs what may fail; what went wrong is said where the person looks. */
function told(work) {
  return (...given) =>
    work(...given).catch((error) => {
      document.documentElement.dataset.error = error.message;
      find("selftest").disabled = false;
      say(error.message, "bad");
    });
}

function listen(about) {
  const [files, drop] = [find("files"), document.documentElement];
  files.addEventListener("change", told(async () => {
    await showAll(files.files, about);
    files.value = "";
  }));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    find("drop").classList.add("over");
  });
  drop.addEventListener("dragleave", () => find("drop").classList.remove("over"));
  drop.addEventListener("drop", told(async (event) => {
    event.preventDefault();
    find("drop").classList.remove("over");
    await showAll(event.dataTransfer.files, about);
  }));
  addEventListener("paste", told((event) => showAll(event.clipboardData.files, about)));
  find("camera").addEventListener("click", told(async () => (camera.stream ? stopCamera() : startCamera(about))));
  find("selftest").addEventListener("click", told(selftest));
  for (const each of [files, find("camera"), find("selftest")]) each.disabled = false;
}

told(async () => {
  const { answer: about } = await request("about");
  await gallery.open(about);
  listen(about);
  document.documentElement.dataset.ready = "";
  if (new URLSearchParams(location.search).has("selftest")) await selftest();
  else say("Ready. Pictures stay in this browser: nothing is sent anywhere.");
})();
