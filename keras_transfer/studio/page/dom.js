// Makes elements and says numbers as people read them.

/** An element with properties and children; children that are null are left out, text is text and never markup. */
export function make(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "role" || key === "for") made.setAttribute(key, value);
    else if (key === "data") Object.assign(made.dataset, value);
    else made[key] = value;
  }
  made.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

/** Marks an element that stays itself when what is around it is drawn anew. */
export function kept(element) {
  element.kept = true;
  return element;
}

/**
 * Makes an element hold these children; those that are null are left out. What is there already in the same place is
 * changed and not replaced, so that focus, scrolling and a click that has begun are not lost to news that come meanwhile.
 */
export function fill(root, ...children) {
  const wanted = children.flat().filter((each) => each !== null && each !== undefined && each !== false);
  wanted.forEach((each, place) => {
    const fresh = each instanceof Node ? each : document.createTextNode(each);
    const there = root.childNodes[place];
    if (!there) root.append(fresh);
    else if (there !== fresh && !changed(there, fresh)) there.replaceWith(fresh);
  });
  while (root.childNodes.length > wanted.length) root.lastChild.remove();
}

const HANDLERS = ["onclick", "onchange", "onsubmit"];

/** Makes a node look and act as another; false where it has to be replaced. */
function changed(there, fresh) {
  if (there.kept || fresh.kept || fresh.isConnected || there.nodeName !== fresh.nodeName) return false;
  if (there.nodeType === Node.TEXT_NODE) {
    if (there.data !== fresh.data) there.data = fresh.data;
    return true;
  }
  for (const { name } of [...there.attributes]) if (!fresh.hasAttribute(name)) there.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (there.getAttribute(name) === value) continue;
    if (name === "style") there.style.cssText = value;
    else there.setAttribute(name, value);
  }
  for (const name of HANDLERS) there[name] = fresh[name];
  fill(there, ...fresh.childNodes);
  return true;
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
