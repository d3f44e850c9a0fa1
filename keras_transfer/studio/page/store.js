// What the studio says of itself, kept up to date, and who wants to know when it changes.
import { get } from "./asking.js";
import { find } from "./dom.js";

export const state = { data: null, jobs: [], training: null, runs: [], fixed: null, run: null };

const listeners = new Set();

/** Calls `hear(keys)` whenever something has changed; gives what ends that. */
export function listen(hear) {
  listeners.add(hear);
  return () => listeners.delete(hear);
}

export function changed(values) {
  Object.assign(state, values);
  for (const hear of [...listeners]) hear(Object.keys(values));
}

export async function begin() {
  changed(await get("state"));
  chooseRun(sessionStorage.getItem("run"));
  const events = new EventSource("/api/events");
  let before = finished(state.jobs);
  events.onopen = () => (find("offline").hidden = true);
  events.onerror = () => (find("offline").hidden = false);
  events.onmessage = async ({ data }) => {
    changed(JSON.parse(data));
    const now = finished(state.jobs);
    if (now !== before) {
      before = now;
      await refreshRuns();
    }
  };
}

const finished = (jobs) => jobs.map((each) => `${each.id}${each.state === "running"}`).join();

/** Reads the runs anew; a training that has just ended is chosen. */
export async function refreshRuns() {
  const known = new Set(state.runs.filter((each) => each.finished).map((each) => each.id));
  const runs = await get("runs").catch(() => null);
  if (!runs) return;
  changed({ runs });
  const ended = runs.find((each) => each.finished && !known.has(each.id));
  chooseRun(ended?.id ?? state.run);
}

/** Chooses a run by its id, or the first that is finished. */
export function chooseRun(id) {
  const ready = state.runs.filter((each) => each.finished);
  const run = (ready.find((each) => each.id === id) ?? ready[0])?.id ?? null;
  if (run) sessionStorage.setItem("run", run);
  changed({ run });
}

/** The newest command of a verb, about these things. */
export function latest(verb, about = {}) {
  const same = (job) => Object.entries(about).every(([key, value]) => job.about[key] === value);
  return state.jobs.find((job) => job.verb === verb && same(job));
}

/** What a command that was given is doing, in a sentence. */
export function progress(job) {
  if (job.state === "running") {
    const { text = "starting", done, total } = job.doing ?? {};
    return total ? `${text}: ${done} of ${total}` : `${text} …`;
  }
  return job.sentence || job.state;
}
