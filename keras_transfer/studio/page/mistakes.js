// The fourth step: the pictures that a run is wrong about, the surest mistakes first, and whose mistake it is.
import { get, post, start, told } from "./asking.js";
import { choice, command, fill, make, many, percent } from "./dom.js";
import { thumbnail } from "./grid.js";
import { latest, listen, progress, state } from "./store.js";
import { redrawnWithARun } from "./trying.js";

export function mistakes(root) {
  if (!state.run) {
    root.append(make("div", { className: "empty" }, make("h2", {}, "No model yet"), make("p", {}, "Train one first: what it gets wrong stands here, to be looked at and mended.")));
    return redrawnWithARun(root, mistakes);
  }
  const split = choice([["validation", "Validation pictures"], ["test", "Test pictures"]], { "aria-label": "Which pictures", id: "split" });
  const list = make("ol", { className: "cards", "aria-label": "Mistakes, the surest first" });
  const above = make("div", { className: "row" });
  const below = make("div");
  root.append(make("section", {}, above, below, list));
  const page = { key: null, found: null };

  const asked = () => ({ run: state.run, split: split.value });
  split.addEventListener("change", () => update(["run"]));

  function drawAbove() {
    const job = latest("evaluate", asked());
    const running = job?.state === "running";
    const ask = make("button", { type: "button", id: "list", className: page.found?.asked ? "" : "main", disabled: running, onclick: told(() => start({ verb: "evaluate", ...asked() })) }, page.found?.asked ? "List them again" : "List the mistakes");
    fill(above, split, ask);
    const lines = [];
    if (running) lines.push(make("p", { className: "soft", role: "status" }, progress(job)));
    else if (job && job.state !== "finished") lines.push(make("p", { className: "bad" }, job.sentence));
    else if (!page.found?.asked) lines.push(make("p", { className: "soft" }, "Asks the run about these pictures, and lists those that it is wrong about, the surest mistakes first."));
    if (page.found?.asked) {
      const { rows, count } = page.found;
      const told = rows.length ? `${many(rows.length, "mistake")} among ${many(count, "picture")}. Where the label is wrong, mend it; where the model is, pictures like it help.` : `No mistake among ${many(count, "picture")}.`;
      lines.push(make("p", {}, told));
    }
    if (split.value === "test") lines.push(make("p", { className: "soft" }, "Mend test labels only where they are plainly wrong: a test that was fitted to a model no longer judges it."));
    if (job) lines.push(command(job.command));
    fill(below, ...lines);
  }

  function drawn(row) {
    const said = row.says.class_name ?? JSON.stringify(row.says);
    const known = state.data.classes?.find((each) => each.name === said);
    const changed = row.id && (row.left_out || row.label !== row.truth);
    const buttons = row.id
      ? [
          known && row.label !== said ? make("button", { type: "button", onclick: told(() => decide("label", { ids: [row.id], label: known.id })) }, `Call it ${said}`) : null,
          row.left_out ? null : make("button", { type: "button", onclick: told(() => decide("leave-out", { ids: [row.id], out: true })) }, "Leave out"),
          make("button", { type: "button", className: "quiet", onclick: told(() => where(row.id)) }, "Where it looked"),
        ]
      : [];
    return make(
      "li",
      { className: "card" },
      make("div", { className: "looks" }, row.id ? Object.assign(thumbnail(row, "large"), { alt: row.picture }) : make("span", { className: "broken" }, row.picture)),
      make("h3", {}, `${said}${row.says.probability === undefined ? "" : `, ${percent(row.says.probability)}`}`),
      make("p", { className: "soft" }, `is called ${row.truth}${changed ? ` · now ${row.left_out ? "left out" : (row.label ?? "without a class")}` : ""}`),
      make("div", { className: "row" }, buttons),
    );
  }

  async function decide(place, body) {
    await post(place, body);
    await read();
  }

  async function where(id) {
    await start({ verb: "predict", run: state.run, pictures: [id] });
    location.hash = "#try";
  }

  async function read() {
    page.found = await get(`runs/${state.run}/mistakes?split=${split.value}`);
    drawAbove();
    fill(list, ...page.found.rows.map(drawn));
  }

  const update = told(async (keys) => {
    if (!["jobs", "run", "data"].some((each) => keys.includes(each))) return;
    const job = latest("evaluate", asked());
    const key = `${state.run}${split.value}${job?.id}${job?.state}${state.data.version}`;
    if (key === page.key) {
      if (keys.includes("jobs") && job?.state === "running") drawAbove();
      return;
    }
    page.key = key;
    await read();
  });
  const end = listen(update);
  update(["run"]);
  return end;
}
