// The last step: files, what was proven of each, and a bundle for where the model will be used.
import { get, start, told } from "./asking.js";
import { command, count, fill, kept, make, megabytes, percent, table } from "./dom.js";
import { latest, listen, progress, state } from "./store.js";
import { redrawnWithARun } from "./trying.js";

/** A difference in few digits. */
const small = (value) => (value === null ? "–" : value ? value.toExponential(1) : "0");

/** What the tables of the program offer to runs of a task. */
const offered = (rows, run) => rows.filter((each) => each.tasks.includes(run.task));

export function ship(root) {
  if (!state.run) {
    root.append(make("div", { className: "empty" }, make("h2", {}, "Nothing to ship yet"), make("p", {}, "Train a model first: its files are made and proven here.")));
    return redrawnWithARun(root, ship);
  }
  const summary = make("section", { className: "card", "aria-labelledby": "worth" });
  const files = make("section", { className: "card", "aria-labelledby": "files-of" });
  const bundles = make("section", { className: "card", "aria-labelledby": "bundles" });
  root.append(summary, files, bundles);
  const formats = kept(make("div", { className: "formats", role: "group", "aria-label": "Formats" }));
  const page = { key: null, run: null, formats: null };

  /** The formats that a run's plan names, chosen, and the others behind a click; what a person chose stays. */
  function offerFormats() {
    const run = page.run;
    if (page.formats === run.id) return;
    page.formats = run.id;
    const check = ({ name, title }) => make("label", {}, make("input", { type: "checkbox", value: name, checked: run.planned.includes(name) }), title);
    const rows = offered(state.fixed.formats, run);
    const [planned, others] = [true, false].map((wanted) => rows.filter((each) => run.planned.includes(each.name) === wanted));
    formats.replaceChildren(
      make("div", { className: "checks" }, planned.map(check)),
      make("details", {}, make("summary", {}, "Other formats"), make("div", { className: "checks" }, others.map(check))),
    );
  }

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
    const things = run.task === "clips" ? "clips" : "pictures";
    const figures = Object.entries(run.test).filter(([name]) => !name.includes("loss"));
    fill(
      summary,
      make("h2", { id: "worth" }, run.name),
      make("p", { className: "soft" }, `${run.backbone} at ${run.image_size} px, trained on ${count(run.counts.train)} ${things}, judged by ${count(run.counts.test)} that it never saw.`),
      make("dl", { className: "figures" }, figures.map(([name, value], at) => make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, percent(value), at === 0 && run.spread ? make("small", {}, ` ± ${(100 * run.spread).toFixed(1)}`) : null)))),
      make("div", { className: "row" }, button("report", "Write the report", () => ({})), run.report ? make("a", { href: `/api/runs/${run.id}/report`, target: "_blank", rel: "noopener" }, "Open the report") : null),
      ...last("report"),
    );
  }

  function drawFiles() {
    const run = page.run;
    const headings = [["File"], ["Precision"], ["MB", true], [run.merit_name, true], ["Agrees with Keras", true], ["Largest diff.", true], ["ms a picture", true]];
    const rows = run.exports.map((each) => {
      const proven = each.merit !== undefined;
      const figures = proven ? [percent(each.merit), percent(each.agreement), small(each.largest), each.milliseconds.toFixed(2)] : ["not proven", "–", "–", "–"];
      return [each.name, each.precision, megabytes(each.bytes), ...figures];
    });
    const rejected = run.exports.filter((each) => each.rejected);
    const chosen = () => ({ formats: [...formats.querySelectorAll("input:checked")].map((each) => each.value) });
    offerFormats();
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
    const targets = offered(state.fixed.targets, run);
    const left = state.fixed.targets.filter((each) => !targets.includes(each)).map((each) => each.title);
    const made = run.bundles.map((each) => [each.name, megabytes(each.bytes), make("a", { href: `/api/runs/${run.id}/bundles/${each.id}`, download: each.name }, "Download")]);
    fill(
      bundles,
      make("h2", { id: "bundles" }, "Bundles"),
      make("p", { className: "soft" }, "The smallest proven file with labels, golden pictures and a test of itself, for where it will be used."),
      ready
        ? make("div", { className: "row" }, targets.map(({ name, title }) => Object.assign(button("bundle", title, () => ({ target: name })), { id: `bundle-${name}` })))
        : make("p", {}, "Export first: a bundle holds a file that is proven."),
      left.length ? make("p", { className: "soft" }, `Not for ${run.task}: ${left.join(", ")}.`) : null,
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
