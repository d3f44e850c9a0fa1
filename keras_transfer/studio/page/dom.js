// Makes elements and says numbers as people read them.

/** An element with properties and children; children that are null are left out, text is text and never markup. */
export function make(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "role" || key === "for") made.setAttribute(key, value);
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(made.dataset, value);
    else made[key] = value;
  }
  made.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

/** Puts children in the place of what an element holds; those that are null are left out. */
export function fill(root, ...children) {
  root.replaceChildren(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
}

export const find = (name) => document.getElementById(name);

export const percent = (share) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(1)} %`);

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)}`;

export const count = (number) => number.toLocaleString("en");

/** "1 picture", "2 pictures". */
export const many = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

/** Seconds as m:ss or h:mm:ss. */
export function clock(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const [hours, minutes, rest] = parts.map((each) => String(each).padStart(2, "0"));
  return parts[0] ? `${parts[0]}:${minutes}:${rest}` : `${Number(minutes)}:${rest}`;
}

/** A bar that is full to a share, 0 to 1. */
export function bar(share) {
  const filled = make("span");
  filled.style.setProperty("--share", Math.max(0, Math.min(1, share)));
  return make("div", { className: "bar-of", "aria-hidden": "true" }, filled);
}

/** A table: headings as [text, is a number], rows as lists of texts or elements. */
export function table(headings, rows, caption) {
  const numbers = headings.map(([, number]) => number);
  const cell = (name, content, place) => make(name, { className: numbers[place] ? "number" : "" }, content);
  const head = headings.map(([text], place) => Object.assign(cell("th", text, place), { scope: "col" }));
  const body = rows.map((row) =>
    make("tr", {}, row.map((each, place) => (place ? cell("td", each, place) : Object.assign(cell("th", each, 0), { scope: "row" })))),
  );
  const made = make("table", {}, make("caption", { className: "hidden" }, caption), make("thead", {}, make("tr", {}, head)), make("tbody", {}, body));
  return make("div", { className: "wide", tabIndex: 0, role: "group", "aria-label": caption }, made);
}

/** A select with options as [value, text]. */
export function choice(options, properties = {}) {
  return make("select", properties, options.map(([value, text]) => make("option", { value }, text)));
}

/** A labelled field. */
export function field(text, control) {
  return make("label", { className: "field" }, text, control);
}

/** The command that does the same, with a button that copies it. */
export function command(text) {
  const copy = make("button", { type: "button", className: "quiet", onclick: () => copied(copy, text) }, "Copy");
  return make("p", { className: "command" }, make("code", {}, text), copy);
}

async function copied(button, text) {
  await navigator.clipboard?.writeText(text).then(
    () => (button.textContent = "Copied"),
    () => (button.textContent = "Select it"),
  );
}
