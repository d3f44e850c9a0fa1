// Starts the page: the steps, the run that is looked at, and the commands that were given.
import { post, say, told } from "./asking.js";
import { command, count, fill, find, make } from "./dom.js";
import { mistakes } from "./mistakes.js";
import { pictures } from "./pictures.js";
import { ship } from "./ship.js";
import { begin, chooseRun, listen, progress, state } from "./store.js";
import { train } from "./train.js";
import { trying } from "./trying.js";

const STEPS = { pictures, train, try: trying, mistakes, ship };

let leave = () => {};

function show() {
  const name = location.hash.slice(1) in STEPS ? location.hash.slice(1) : "pictures";
  for (const link of find("steps").children) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave();
  say("");
  const root = find("view");
  fill(root);
  root.dataset.step = name;
  window.scrollTo(0, 0);
  leave = STEPS[name](root) ?? (() => {});
}

function header(keys) {
  if (keys.includes("data")) {
    const { name, changed } = state.data;
    fill(find("name"), name, changed ? make("span", { className: "soft" }, ` ${count(changed)} changed`) : null);
    document.title = `${name} · Studio`;
  }
  if (!keys.includes("runs") && !keys.includes("run")) return;
  const ready = state.runs.filter((each) => each.finished);
  find("pick").hidden = !ready.length;
  fill(find("run"), ready.map((each) => make("option", { value: each.id }, each.name)));
  find("run").value = state.run;
}

const WORDS = { running: "runs", finished: "done", failed: "failed", stopped: "stopped", interrupted: "was cut off" };

function commands(keys) {
  if (!keys.includes("jobs")) return;
  const running = state.jobs.filter((each) => each.state === "running").length;
  find("running").textContent = running ? `${running} running` : "";
  fill(
    find("given"),
    ...state.jobs.map((job) => {
      const bad = ["failed", "interrupted"].includes(job.state);
      const said = job.state === "finished" ? "" : ` · ${progress(job)}`;
      const stop = make("button", { type: "button", className: "quiet", onclick: told(() => post(`jobs/${job.id}/stop`)) }, "Stop");
      const line = make("span", { className: bad ? "bad" : "soft" }, `${WORDS[job.state]}${said} `, job.state === "running" ? stop : null);
      return make("li", {}, command(job.command), line);
    }),
  );
}

/** The token did its work when the page came: it stays neither in the address nor in the history. */
function forgetToken() {
  if (location.search) history.replaceState(null, "", `/${location.hash}`);
}

async function open() {
  forgetToken();
  listen(header);
  listen(commands);
  find("run").addEventListener("change", ({ target }) => chooseRun(target.value));
  await begin();
  addEventListener("hashchange", show);
  show();
  document.documentElement.dataset.ready = "";
}

open().catch((error) => {
  fill(find("view"));
  say(error.message, "bad");
});

