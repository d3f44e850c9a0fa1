// Asks the studio, and says what it refuses in its own words.
import { find } from "./dom.js";

async function answered(response) {
  const told = response.headers.get("content-type")?.startsWith("application/json") ? await response.json() : null;
  if (response.ok) return told;
  throw new Error(told?.error ?? `The studio answers ${response.status}.`);
}

const gone = () => {
  throw new Error("The studio does not answer. Is it closed?");
};

export const get = (place) => fetch(`/api/${place}`).catch(gone).then(answered);

export const post = (place, body = {}) =>
  fetch(`/api/${place}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
    .catch(gone)
    .then(answered);

/** Sends a picture as it is. */
export const send = (place, picture) =>
  fetch(`/api/${place}`, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: picture })
    .catch(gone)
    .then(answered);

/** Starts a verb. */
export const start = (asked) => post("jobs", { asked });

/** Says something where the person looks. */
export function say(sentence, kind = "") {
  Object.assign(find("status"), { textContent: sentence, className: kind });
}

/** Wraps what may fail: what went wrong is said. */
export const told =
  (work) =>
  async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      say(error.message, "bad");
      return undefined;
    }
  };
