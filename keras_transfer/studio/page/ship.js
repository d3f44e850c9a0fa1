// The last step: files, what was proven of each, and a bundle for where the model will be used.
import { get, start, told } from "./asking.js";
import { command, fill, kept, make, megabytes, percent, table } from "./dom.js";
import { latest, listen, progress, state } from "./store.js";
import { redrawnWithARun } from "./trying.js";

const FORMATS = { saved_model: "SavedModel", tflite: "TFLite", "tflite-float16": "TFLite, half floats", "tflite-int8": "TFLite, whole numbers", onnx: "ONNX" };
const CHOSEN = ["saved_model", "tflite", "tflite-int8", "onnx"];
const TARGETS = { web: "Web page", python: "Python package", node: "Node module", server: "HTTP service" };

export function ship(root) {
  if (!state.run) {
    root.append(make("div", { className: "empty" }, make("h2", {}, "Nothing to ship yet"), make("p", {}, "Train a model first: its files are made and proven here.")));
    return redrawnWithARun(root, ship);
  }
  const summary = make("section", { className: "card", "aria-labelledby": "worth" });
  const files = make("section", { className: "card", "aria-labelledby": "files-of" });
  const bundles = make("section", { className: "card", "aria-labelledby": "bundles" });
  root.append(summary, files, bundles);
  const checks = Object.entries(FORMATS).map(([value, text]) => make("label", {}, make("input", { type: "checkbox", value, checked: CHOSEN.includes(value) }), text));
  const formats = kept(make("div", { className: "checks", role: "group", "aria-label": "Formats" }, checks));
  const page = { key: null, run: null };

  function button(verb, text, about, main = false) {
    const job = latest(verb, { run: state.run });
    return make("button", { type: "button", id: `${verb}-it`, className: main ? "main" : "", disabled: job?.state === "running", onclick: told(() => start({ verb, run: state.run, ...about() })) }, text);
  }

  /** How the last command of a verb goes, and what it was. */
  function last(verb) {
    const job = latest(verb, { run: state.run });
    if (!job) return [];
    const lines = [command(job.command)];
    if (job.state === "running") lines.unshift(make("p", { className: "soft", role: "status" }, progress(job)));
    else if (job.state !== "finished") lines.unshift(make("p", { className: "bad" }, job.sentence));
    return lines;
  }

  function drawSummary() {
    const run = page.run;
    const figures = Object.entries(run.test).filter(([name]) => !name.includes("loss"));
    fill(
      summary,
      make("h2", { id: "worth" }, run.name),
      make("p", { className: "soft" }, `${run.backbone} at ${run.image_size} px, trained on ${run.counts.train} pictures, judged by ${run.counts.test} that it never saw.`),
      table(figures.map(([name]) => [name.replaceAll("_", " "), true]).map(([text], place) => [text, place > 0]), [figures.map(([, value]) => percent(value))], "What it is worth on the test pictures"),
      make("div", { className: "row" }, button("report", "Write the report", () => ({})), run.report ? make("a", { href: `/api/runs/${run.id}/report`, target: "_blank", rel: "noopener" }, "Open the report") : null),
      ...last("report"),
    );
  }

  function drawFiles() {
    const run = page.run;
    const headings = [["File"], ["Precision"], ["MB", true], [run.merit_name, true], ["Agrees with Keras", true], ["Largest diff.", true], ["ms a picture", true]];
    const rows = run.exports.map((each) => {
      const proven = each.merit !== undefined;
      const figures = proven ? [percent(each.merit), percent(each.agreement), each.largest === null ? "–" : each.largest.toExponential(1), each.milliseconds.toFixed(2)] : ["not proven", "–", "–", "–"];
      return [each.name, each.precision, megabytes(each.bytes), ...figures];
    });
    const rejected = run.exports.filter((each) => each.rejected);
    const chosen = () => ({ formats: checks.map((each) => each.firstChild).filter((each) => each.checked).map((each) => each.value) });
    fill(
      files,
      make("h2", { id: "files-of" }, "Files"),
      make("p", { className: "soft" }, "Each is run in its own runtime on the test pictures and compared with the model; what says something else is set aside."),
      formats,
      make("div", { className: "row" }, button("export", run.exports.length ? "Export again" : "Export and prove", chosen, !run.exports.length)),
      ...(rows.length ? [table(headings, rows, "Exported files and what was proven of each")] : []),
      ...rejected.map((each) => make("p", { className: "bad" }, `${each.name} was set aside: ${each.rejected}`)),
      ...last("export"),
    );
  }

  function drawBundles() {
    const run = page.run;
    const ready = run.exports.some((each) => !each.rejected);
    const made = run.bundles.map((each) => [each.name, megabytes(each.bytes), make("a", { href: `/api/runs/${run.id}/bundles/${each.id}`, download: each.name }, "Download")]);
    fill(
      bundles,
      make("h2", { id: "bundles" }, "Bundles"),
      make("p", { className: "soft" }, "The smallest proven file with labels, golden pictures and a test of itself, for where it will be used."),
      ready
        ? make("div", { className: "row" }, Object.entries(TARGETS).map(([target, text]) => Object.assign(button("bundle", text, () => ({ target })), { id: `bundle-${target}` })))
        : make("p", {}, "Export first: a bundle holds a file that is proven."),
      ...(made.length ? [table([["Bundle"], ["MB", true], [""]], made, "Bundles to download")] : []),
      ...last("bundle"),
    );
  }

  const update = told(async (keys) => {
    if (!keys.includes("jobs") && !keys.includes("run")) return;
    const verbs = ["export", "bundle", "report"];
    const key = state.run + verbs.map((verb) => `${latest(verb, { run: state.run })?.id}${latest(verb, { run: state.run })?.state}`).join();
    if (key !== page.key) {
      page.key = key;
      page.run = await get(`runs/${state.run}`);
    }
    if (!page.run) return;
    drawSummary();
    drawFiles();
    drawBundles();
  });
  const end = listen(update);
  update(["run"]);
  return end;
}
