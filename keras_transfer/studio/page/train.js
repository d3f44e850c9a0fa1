// The second step: advice, a training, and how it goes while it goes.
import { get, post, start, told } from "./asking.js";
import { curves } from "./curves.js";
import { bar, choice, clock, command, field, fill, make, many, percent, table } from "./dom.js";
import { latest, listen, progress, state } from "./store.js";

const RUNNING = (job) => job?.state === "running";

export function train(root) {
  const advice = make("section", { className: "card", "aria-labelledby": "advice" });
  const plan = make("section", { className: "card", "aria-labelledby": "plan" });
  const live = make("section", { "aria-labelledby": "live" });
  root.append(make("div", { className: "side even" }, plan, advice), live);
  const page = { advice: null, advised: null, live: null };
  const { backbones, recipes, settled } = state.fixed;
  /** The names of a table; what is left open is what a training takes by itself. */
  const open = (names, own, id) => choice([["", own], ...names.filter((each) => each !== own).map((each) => [each, each])], { id });
  const fields = {
    backbone: open(backbones, settled.backbone, "backbone"),
    recipe: open(recipes, settled.recipe, "recipe"),
    minutes: make("input", { type: "number", min: "0.1", step: "any", placeholder: "no limit", id: "minutes" }),
    epochs: make("input", { type: "number", min: "1", step: "1", placeholder: "the recipe's", id: "epochs" }),
    image_size: make("input", { type: "number", min: "16", step: "1", placeholder: "fitting", id: "image-size" }),
  };

  function drawPlan() {
    const names = { backbone: "Backbone", recipe: "Recipe", minutes: "Minutes at most", epochs: "Epochs of a stage", image_size: "Side in pixels" };
    const begin = told(async (event) => {
      event.preventDefault();
      const given = Object.entries(fields).filter(([, control]) => control.value !== "");
      const numbers = ["minutes", "epochs", "image_size"];
      await start({ verb: "train", ...Object.fromEntries(given.map(([name, { value }]) => [name, numbers.includes(name) ? Number(value) : value])) });
    });
    fill(
      plan,
      make("h2", { id: "plan" }, "Train"),
      make(
        "form",
        { onsubmit: begin },
        make("div", { className: "fields" }, Object.entries(fields).map(([name, control]) => field(names[name], control))),
        make("p", { className: "soft" }, "What is left open is chosen by the pictures. Stages that do not help are undone."),
        make("div", { className: "row" }, make("button", { className: "main", id: "begin" }, "Train")),
      ),
    );
  }

  function use(advised) {
    for (const name of ["backbone", "recipe"]) fields[name].value = advised.plan[name] === settled[name] ? "" : advised.plan[name];
    fields.image_size.value = advised.plan.image_size ?? "";
  }

  function drawAdvice() {
    const job = latest("advise");
    const ask = make("button", { type: "button", disabled: RUNNING(job), onclick: told(() => start({ verb: "advise" })) }, "Measure first");
    const lines = [make("h2", { id: "advice" }, "Advice")];
    if (RUNNING(job)) lines.push(make("p", { role: "status", className: "soft" }, progress(job)));
    else if (job && job.state !== "finished") lines.push(make("p", { className: "bad" }, job.sentence));
    else if (!job) lines.push(make("p", { className: "soft" }, "Looks at the pictures before anything is trained: which backbone, how deep, how long it will take, and why."));
    if (page.advised) {
      const { plan: found, reasons, training_seconds: seconds, alternatives } = page.advised;
      const text = `${found.recipe} on ${found.backbone}${seconds ? `, about ${clock(seconds)} minutes` : ""}`;
      lines.push(
        make("p", {}, make("strong", {}, text)),
        table([["Decision"], ["Why"]], reasons.map((each) => [each.topic, each.sentence]), "Reasons for the advice"),
        alternatives.length > 1 ? make("ul", { className: "soft" }, alternatives.map((each) => make("li", {}, each.sentence))) : null,
      );
    }
    const take = page.advised ? make("button", { type: "button", onclick: () => use(page.advised) }, "Use it") : null;
    fill(advice, ...lines.filter(Boolean), make("div", { className: "row" }, take, ask), ...(job ? [command(job.command)] : []));
  }

  function drawLive() {
    const training = state.training;
    const job = training && state.jobs.find((each) => each.id === training.job);
    if (!job) {
      fill(live);
      return;
    }
    const stop = make("button", { type: "button", id: "stop", onclick: told(() => post(`jobs/${job.id}/stop`)) }, "Stop");
    const again = make("button", { type: "button", id: "again", onclick: told(() => post(`jobs/${job.id}/again`)) }, "Go on");
    const titles = { running: "Training", finished: "Trained", failed: "The training failed", stopped: "Stopped", interrupted: "The training was cut off" };
    const said = RUNNING(job) ? progress(job) : job.sentence;
    const drawn = curves(training.stages, state.fixed.merit_name);
    const warnings = training.notes.filter((each) => each.kind === "warning").map((each) => each.text);
    fill(
      live,
      make("div", { className: "row" }, make("h2", { id: "live" }, titles[job.state]), RUNNING(job) ? stop : null, ["stopped", "interrupted", "failed"].includes(job.state) ? again : null),
      ...(said ? [make("p", { className: job.state === "failed" ? "bad" : "soft", id: "doing" }, said)] : []),
      ...(RUNNING(job) && job.doing?.total ? [bar(job.doing.done / job.doing.total)] : []),
      ...(training.stages.length ? [make("div", { className: "card" }, stages(training.stages))] : []),
      ...(drawn ? [make("div", { className: "card" }, drawn)] : []),
      ...warnings.slice(-3).map((text) => make("p", { className: "soft" }, text)),
      command(job.command),
    );
  }

  const update = told(async (keys) => {
    if (keys.includes("jobs")) {
      const job = latest("advise");
      const now = `${job?.id}${job?.state}`;
      if (now !== page.advice) {
        page.advice = now;
        if (job?.state === "finished") page.advised = (await get(`jobs/${job.id}`)).said;
      }
      drawAdvice();
    }
    if (keys.includes("jobs") || keys.includes("training")) drawLive();
  });
  drawPlan();
  const end = listen(update);
  update(["jobs", "training"]);
  return end;
}

const STATES = { "to come": "to come", learns: "learns", kept: "kept", "rolled back": "rolled back" };

/** What each stage did, and how long it still takes. */
function stages(rows) {
  const headings = [["Stage"], ["Epochs", true], ["Loss", true], ["Validation", true], ["Left", true], ["Gate"]];
  const cells = rows.map((stage) => {
    const best = stage.rows.reduce((found, row) => (found === null || row[3] > found[3] ? row : found), null);
    const merit = stage.merit ?? best?.[3] ?? null;
    const left = stage.state !== "learns" ? "" : stage.left === null ? "…" : clock(stage.left);
    const gate = stage.state === "rolled back" ? make("span", { className: "bad" }, stage.reason || "rolled back") : stage.state === "kept" ? stage.reason || "kept" : STATES[stage.state];
    return [stage.name, stage.epochs ? `${stage.done} / ${stage.epochs}` : String(stage.done), best ? best[1].toFixed(3) : "–", percent(merit), left, gate];
  });
  return table(headings, cells, `What ${many(rows.length, "stage")} did`);
}
