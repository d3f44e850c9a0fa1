// The first step: the pictures of a data set, what is wrong with them, and what a person decides about it.
import { get, post, say, send, start, told } from "./asking.js";
import { camera } from "./camera.js";
import { choice, command, count, field, fill, make, many } from "./dom.js";
import { chosenFiles, dropping } from "./dropping.js";
import { Grid, thumbnail } from "./grid.js";
import { latest, listen, progress, state } from "./store.js";

const AT_A_TIME = 3; // pictures that are sent at once
const NOT_PICTURES = /^(text|audio|video|application)\//;

export function pictures(root) {
  if (state.data.why_not) return unmended(root);
  const view = { name: "all", label: null, finding: null };
  const facets = make("aside", { className: "facets", "aria-label": "Which pictures" });
  const tools = make("div", { className: "row" });
  const holder = make("div");
  const empty = make("div", { className: "empty", hidden: true });
  const sentences = make("ul", { className: "told", hidden: true });
  const bar = make("div", { className: "chosen", hidden: true, role: "group", "aria-label": "What is selected" });
  root.append(make("div", { className: "side" }, facets, make("section", { "aria-label": "Pictures of the data set" }, tools, sentences, empty, holder, bar)));
  const asked = () => new URLSearchParams(view.finding ? { finding: view.finding } : { view: view.name, ...(view.label ? { label: view.label } : {}) });
  const grid = new Grid(holder, {
    load: (offset, limit) => get(`pictures?${asked()}&offset=${offset}&limit=${limit}`),
    open: (picture) => look(picture),
    chosen: (ids) => selection(ids),
    out: () => leaveOut(),
  });
  const page = { findings: { kinds: [] }, version: null, selected: [] };

  const decided = (work) =>
    told(async (...given) => {
      await work(...given);
      grid.select([]);
    });
  const move = decided((label) => post("label", { ids: page.selected, label: label || null }));
  const leaveOut = decided(() => post("leave-out", { ids: page.selected, out: true }));
  const believe = decided(async (doubted) => {
    for (const label of new Set(doubted.map((each) => each.suggested.id))) await post("label", { ids: doubted.filter((each) => each.suggested.id === label).map((each) => each.id), label });
  });
  const takeIn = decided(() => post("leave-out", { ids: page.selected, out: false }));

  function selection(ids) {
    page.selected = ids;
    bar.hidden = !ids.length;
    if (!ids.length) return;
    const one = grid.one();
    const known = grid.known(ids);
    const doubted = known.filter((each) => each.suggested);
    const options = [["", "Move to …"], ...state.data.classes.map((each) => [each.id, each.name])];
    const to = choice(options, { "aria-label": "Move to a class", onchange: ({ target }) => target.value && move(target.value) });
    fill(
      bar,
      make("strong", { className: "number" }, `${count(ids.length)} selected`),
      to,
      view.name === "left-out" || one?.out
        ? make("button", { type: "button", onclick: takeIn }, "Take in again")
        : make("button", { type: "button", onclick: leaveOut }, "Leave out"),
      doubted.length ? make("button", { type: "button", onclick: () => believe(doubted) }, doubted.length === 1 ? `Call it ${doubted[0].suggested.name}` : `Call ${count(doubted.length)} as the probe does`) : null,
      one ? make("button", { type: "button", onclick: () => look(one) }, "Look at it") : null,
      one?.told ? make("span", { className: "soft" }, one.told) : null,
      make("button", { type: "button", className: "quiet", onclick: () => grid.select([]) }, "Clear"),
    );
    bar.querySelector("select").value = "";
  }

  async function choose(name, label = null, finding = null) {
    Object.assign(view, { name, label, finding });
    drawFacets();
    scrollTo(0, 0);
    await grid.reset();
    drawEmpty();
  }

  function facet(text, number, pressed, go, title = "") {
    return make("li", {}, make("button", { type: "button", "aria-pressed": String(pressed), title, onclick: told(go) }, make("span", {}, text), make("span", { className: "number soft" }, count(number))));
  }

  const input = make("input", { placeholder: "New class", "aria-label": "Name of a new class", maxLength: 100, id: "new-class" });
  const add = told(async (event) => {
    event.preventDefault();
    await post("classes", { name: input.value });
    input.value = "";
  });
  const lists = { views: make("ul"), classes: make("ul", { className: "long" }), findings: make("ul"), doctor: make("div") };
  facets.append(
    make("div", {}, make("h2", {}, "Show"), lists.views),
    make("div", {}, make("h2", {}, "Classes"), lists.classes, make("form", { className: "new", onsubmit: add }, input, make("button", {}, "Add"))),
    make("div", {}, make("h2", {}, "What the doctor sees"), lists.findings, lists.doctor),
  );

  function drawFacets() {
    const { total, left_out: out, unlabelled, changed, classes } = state.data;
    const plain = (name) => view.name === name && !view.label && !view.finding;
    const views = [["all", "All that is trained on", total - out], ["unlabelled", "Without a class", unlabelled], ["changed", "Changed here", changed], ["left-out", "Left out", out]];
    fill(lists.views, views.filter(([name, , number]) => name === "all" || number || view.name === name).map(([name, text, number]) => facet(text, number, plain(name), () => choose(name))));
    fill(lists.classes, classes.map((each) => facet(each.name, each.count, view.label === each.id, () => choose("all", each.id), each.name)));
    fill(lists.findings, page.findings.kinds.map((each) => facet(each.kind, each.count, view.finding === each.kind, () => choose("all", null, each.kind), each.messages[0])));
    fill(lists.doctor, doctorState(page.findings));
  }

  function drawTools() {
    const files = make("input", { type: "file", accept: "image/*", multiple: true, "aria-label": "Choose pictures", id: "files", onchange: ({ target }) => collect(chosenFiles(target)) });
    fill(
      tools,
      make("label", { className: "button main" }, "Add pictures", files),
      make("button", { type: "button", id: "camera", onclick: told(burst) }, "Camera"),
      make("button", { type: "button", onclick: told(all) }, "Select all"),
      state.data.undoable ? make("button", { type: "button", onclick: told(() => post("undo")) }, "Undo") : null,
      make("button", { type: "button", className: "quiet", onclick: told(() => post("look-again")), title: "Files may have come since" }, "Look again"),
    );
  }

  async function all() {
    if (view.finding) grid.select((await get(`pictures?${asked()}&limit=500`)).pictures.map((each) => each.id));
    else grid.select((await get(`pictures/ids?${asked()}`)).ids);
  }

  function drawEmpty() {
    const found = page.findings.kinds.find((each) => each.kind === view.finding);
    const more = found && found.count > found.messages.length ? [`and ${count(found.count - found.messages.length)} more`] : [];
    fill(sentences, found ? [...found.messages, ...more].map((text) => make("li", {}, text)) : []);
    sentences.hidden = !found;
    empty.hidden = grid.total > 0 || Boolean(found);
    const lines = state.data.total
      ? [make("p", {}, "No pictures here.")]
      : [make("h2", {}, "No pictures yet"), make("p", {}, "Drop a folder for each class, or make a class and hold the camera to it. Twenty of each are a beginning.")];
    fill(empty, ...lines);
  }

  async function look(picture) {
    const dialog = make("dialog", { "aria-label": picture.name });
    const label = choice([["", "no class"], ...state.data.classes.map((each) => [each.id, each.name])], {});
    label.value = state.data.classes.find((each) => each.name === picture.label)?.id ?? "";
    label.addEventListener("change", told(() => post("label", { ids: [picture.id], label: label.value || null })));
    dialog.append(
      make(
        "div",
        {},
        Object.assign(thumbnail(picture, "large"), { alt: picture.name }),
        make("p", { className: "soft" }, picture.key, picture.given ? ` · its source calls it ${picture.given}` : ""),
        picture.told ? make("p", {}, picture.told) : null,
        make("div", { className: "row" }, field("Class", label), make("button", { type: "button", onclick: () => dialog.close() }, "Close")),
      ),
    );
    document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.showModal();
  }

  const collect = told(async (files) => {
    const fitting = files.filter(({ file }) => !NOT_PICTURES.test(file.type) && !file.name.startsWith("."));
    if (!fitting.length) throw new Error(`${files[0].file.name} is no picture.`);
    const labels = await labelsOf(fitting, view.label);
    if (!labels) return;
    await sent(fitting.map(({ file, folder }) => ({ file, label: labels.get(folder) })));
  });

  async function burst() {
    const { classes } = state.data;
    if (!classes.length) throw new Error("Make a class first: the pictures must be of something.");
    const to = choice(classes.map((each) => [each.id, each.name]), { value: view.label ?? classes[0].id });
    to.value = view.label ?? classes[0].id;
    const taken = await camera({ take: (picture) => send(`collect/${to.value}`, picture), above: to, label: "They are of" });
    say(`${many(taken, "picture")} taken.`, "good");
  }

  const update = told(async (keys) => {
    if (keys.includes("jobs")) {
      const job = latest("doctor");
      const now = `${job?.id}${job?.state}`;
      if (now !== page.doctor) {
        page.doctor = now;
        page.findings = await get("findings");
      }
      drawFacets();
    }
    if (!keys.includes("data") || state.data.version === page.version) return;
    page.version = state.data.version;
    page.findings = await get("findings");
    drawFacets();
    drawTools();
    await grid.refresh();
    drawEmpty();
    if (page.selected.length) selection(page.selected);
  });

  drawTools();
  const ends = [listen(update), dropping(collect), () => grid.leave()];
  update(["data", "jobs"]);
  return () => ends.forEach((end) => end());
}

/** Where labels stay as they are: what the doctor finds, all the same. */
function unmended(root) {
  const section = make("section", { className: "card" });
  root.append(section);
  const update = told(async (keys) => {
    if (!keys.includes("jobs")) return;
    const findings = await get("findings");
    const sentences = findings.kinds.flatMap((each) => each.messages.map((text) => make("li", {}, text)));
    const found = sentences.length ? make("ul", { className: "told" }, sentences) : null;
    fill(section, make("h2", {}, "Labels stay as they are here"), make("p", {}, state.data.why_not), found, doctorState(findings));
  });
  update(["jobs"]);
  return listen(update);
}

function doctorButton() {
  return make("button", { type: "button", onclick: told(() => start({ verb: "doctor" })) }, "Look at every picture");
}

function doctorState(findings) {
  const job = latest("doctor");
  if (job?.state === "running") return make("p", { className: "soft doing", role: "status" }, progress(job));
  const lines = [];
  if (job && job.state !== "finished") lines.push(make("p", { className: "bad" }, job.sentence));
  if (findings.job && !findings.kinds.length) lines.push(make("p", { className: "good" }, "Nothing is wrong."));
  if (findings.stale) lines.push(make("p", { className: "soft" }, "The pictures have changed since."));
  if (!job) lines.push(make("p", { className: "soft" }, "Broken files, copies, leaks between training and test, labels that other pictures speak against."));
  const made = make("div", { className: "row" }, doctorButton());
  return make("div", { className: "row" }, lines, made, job ? command(job.command) : null);
}

/** Which class the files of each folder are of: named as the folder, or as a person says. Null: nothing is taken. */
async function labelsOf(files, shown) {
  const folders = [...new Set(files.map((each) => each.folder))];
  const labels = new Map();
  for (const folder of folders.filter(Boolean)) labels.set(folder, (await post("classes", { name: folder })).id);
  if (!folders.includes("")) return labels;
  const label = shown ?? (await askedClass(files.filter((each) => !each.folder).length));
  return label ? labels.set("", label) : null;
}

function askedClass(number) {
  const known = state.data.classes.map((each) => [each.id, each.name]);
  const to = choice([...known, ["", "a new class …"]], { id: "which-class" });
  const name = make("input", { maxLength: 100, id: "which-name" });
  const named = field("Its name", name);
  const shape = () => (named.hidden = to.value !== "");
  to.addEventListener("change", shape);
  shape();
  return new Promise((done, failed) => {
    const dialog = make("dialog", { "aria-label": "Class of the pictures" });
    let answer = null;
    const take = async (event) => {
      event.preventDefault();
      try {
        answer = to.value || (await post("classes", { name: name.value })).id;
        dialog.close();
      } catch (error) {
        dialog.close();
        failed(error);
      }
    };
    const cancel = make("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    dialog.append(make("form", { onsubmit: take }, make("h2", {}, `What ${number === 1 ? "does this picture" : `do these ${number} pictures`} show?`), field("Class", to), named, make("div", { className: "row" }, make("button", { className: "main" }, "Take"), cancel)));
    document.body.append(dialog);
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(answer);
    });
    dialog.showModal();
  });
}

async function sent(jobs) {
  const queue = [...jobs];
  const refused = [];
  let done = 0;
  async function worker() {
    for (let each = queue.shift(); each; each = queue.shift()) {
      await send(`collect/${each.label}`, each.file).catch((error) => refused.push(`${each.file.name} ${error.message}`));
      done += 1;
      if (jobs.length > 1) say(`${count(done)} of ${many(jobs.length, "picture")} …`);
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  const taken = `${many(jobs.length - refused.length, "picture")} taken.`;
  say(refused.length ? `${taken} Not taken: ${refused.slice(0, 3).join("; ")}${refused.length > 3 ? ` and ${refused.length - 3} more` : ""}` : taken, refused.length ? "bad" : "good");
}
