// The third step: new pictures, what a run says of them, and where it looked.
import { get, send, say, start, told } from "./asking.js";
import { camera } from "./camera.js";
import { bar, command, fill, make, percent } from "./dom.js";
import { chosenFiles, dropping } from "./dropping.js";
import { listen, progress, state } from "./store.js";

const SHOWN = 4; // commands whose answers are shown
const CLASSES = 5; // bars of an answer

export function trying(root) {
  if (!state.run) {
    root.append(make("div", { className: "empty" }, make("h2", {}, "No model yet"), make("p", {}, "Train one first: it is tried here with pictures that it never saw.")));
    return redrawnWithARun(root, trying);
  }
  const files = make("input", { type: "file", accept: "image/*", multiple: true, "aria-label": "Choose pictures", id: "files" });
  files.addEventListener("change", () => ask(chosenFiles(files)));
  const shoot = make("button", { type: "button", id: "camera", onclick: told(photograph) }, "Camera");
  const list = make("ol", { className: "cards", "aria-label": "Answers, the newest first" });
  const above = make("div");
  root.append(
    make(
      "section",
      {},
      make("div", { className: "drop" }, make("label", { className: "button main" }, "Choose pictures", files), shoot, make("span", { className: "soft" }, "or drop or paste them anywhere")),
      above,
      list,
    ),
  );
  const answers = new Map();

  const ask = told(async (given) => {
    say("");
    const ids = [];
    for (const { file } of given.slice(0, 64)) ids.push((await send("tries", file).catch((error) => Promise.reject(new Error(`${file.name} ${error.message}`)))).id);
    await start({ verb: "predict", run: state.run, pictures: ids });
  });

  async function photograph() {
    await camera({ take: (picture) => ask([{ file: new File([picture], "camera.jpg") }]), burst: false });
  }

  const update = told(async (keys) => {
    if (keys.includes("run")) answers.clear();
    if (!keys.includes("jobs") && !keys.includes("run")) return;
    const jobs = state.jobs.filter((job) => job.verb === "predict" && job.about.run === state.run).slice(0, SHOWN);
    for (const job of jobs) if (job.state === "finished" && !answers.has(job.id)) answers.set(job.id, (await get(`jobs/${job.id}`)).said ?? []);
    const [newest] = jobs;
    fill(above, ...(newest ? notes(newest) : []));
    const cards = jobs.flatMap((job) => (answers.get(job.id) ?? []).map((each, number) => answer(job, each, number)));
    const key = jobs.map((job) => `${job.id}${answers.has(job.id)}`).join();
    if (list.dataset.key !== key) fill(list, ...cards);
    list.dataset.key = key;
  });
  const ends = [listen(update), dropping(ask)];
  update(["jobs"]);
  return () => ends.forEach((end) => end());
}

function notes(job) {
  const said =
    job.state === "running"
      ? make("p", { className: "soft", role: "status" }, `${job.about.pictures.length === 1 ? "The picture is" : "The pictures are"} asked about; the model is opened first: ${progress(job)}`)
      : job.state === "finished"
        ? null
        : make("p", { className: "bad" }, job.sentence);
  return [...(said ? [said] : []), command(job.command)];
}

function answer(job, { id, says, drawn }, number) {
  const looks = make("div", { className: "looks" }, make("img", { src: `/api/pictures/${id}/large`, alt: "The picture" }));
  if (drawn) looks.append(make("img", { src: `/api/jobs/${job.id}/drawn/${number}`, alt: "The same, warm where the model looked" }));
  const sentence = says.class_name ? `${says.class_name}, ${percent(says.probability)}` : saidOf(says);
  return make("li", { className: "card" }, looks, make("h3", {}, sentence), shares(says.probabilities));
}

function saidOf(says) {
  const told = Object.entries(says).filter(([, value]) => ["string", "number"].includes(typeof value) || (Array.isArray(value) && value.length < 9));
  return told.map(([name, value]) => `${name.replaceAll("_", " ")}: ${Array.isArray(value) ? value.map((each) => each?.class_name ?? each).join(", ") || "none" : value}`).join("; ");
}

function shares(probabilities) {
  if (!probabilities) return null;
  const rows = Object.entries(probabilities).sort(([, a], [, b]) => b - a).slice(0, CLASSES);
  return make(
    "table",
    { className: "bars" },
    make("caption", { className: "hidden" }, "Classes and their probabilities"),
    make("tbody", {}, rows.map(([name, share]) => make("tr", {}, make("th", { scope: "row", title: name }, name), make("td", { className: "number" }, percent(share)), make("td", {}, bar(share))))),
  );
}

/** Draws a step anew when there is a run to look at. */
export function redrawnWithARun(root, step) {
  let leave = () => {};
  const end = listen(() => {
    if (!state.run) return;
    end();
    fill(root);
    leave = step(root) ?? (() => {});
  });
  return () => {
    end();
    leave();
  };
}
