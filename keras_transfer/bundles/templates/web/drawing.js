// Draws what answers say: bars of shares, boxes and masks over a picture.

const SHOWN = 5; // classes that a list of bars begins with
const OPAQUE = 0.55; // of a mask over its picture
const BACKGROUND = "background"; // the class that masks leave as it is

/** The colour of a class: far from its neighbours', as bright as they. */
export function colour(place) {
  return `hsl(${(place * 137.5) % 360} 75% 50%)`;
}

export function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A table of names and shares with a bar in each row, the largest first. */
export function bars(shares, { said = [], place = null, told = percent, caption }) {
  const rows = Object.entries(shares).map(([name, share], rank) => {
    const bar = element("span", { className: "bar" });
    bar.style.setProperty("--share", Math.max(0, share));
    if (place) bar.style.setProperty("--colour", colour(place(name)));
    if (place && name === BACKGROUND) bar.style.setProperty("--colour", "var(--soft)");
    return element(
      "tr",
      { className: said.includes(name) ? "said" : "", hidden: rank >= SHOWN && !said.includes(name) },
      element("th", { scope: "row", textContent: name }),
      element("td", { className: "number", textContent: told(share) }),
      element("td", { className: "track", ariaHidden: "true" }, bar),
    );
  });
  const table = element("table", { className: "bars" }, element("caption", { className: "hidden", textContent: caption }));
  table.append(element("tbody", {}, ...rows));
  return table;
}

/** Where a picture lies in the square that the model sees: { left, top, width, height } in shares of the square. */
function inside(width, height, aspect) {
  const side = Math.max(width, height);
  const short = Math.min(width, height);
  if (aspect === "letterbox")
    return { left: (1 - width / side) / 2, top: (1 - height / side) / 2, width: width / side, height: height / side };
  if (aspect === "crop")
    return {
      left: (1 - width / short) / 2,
      top: (1 - height / short) / 2,
      width: width / short,
      height: height / short,
    };
  return { left: 0, top: 0, width: 1, height: 1 };
}

/** Draws boxes or a mask of an answer on a canvas that shows the picture, as large as the canvas is. */
export function overlay(canvas, answer, about) {
  const brush = canvas.getContext("2d");
  const place = inside(canvas.width, canvas.height, about.aspect);
  const x = (share) => ((share - place.left) / place.width) * canvas.width;
  const y = (share) => ((share - place.top) / place.height) * canvas.height;
  if (answer.classes) {
    brush.globalAlpha = OPAQUE;
    brush.imageSmoothingEnabled = false;
    brush.drawImage(mask(answer.classes, about), x(0), y(0), x(1) - x(0), y(1) - y(0));
    brush.globalAlpha = 1;
  }
  const size = Math.max(12, Math.round(canvas.width / 40));
  brush.font = `600 ${size}px system-ui, sans-serif`;
  brush.lineWidth = Math.max(2, canvas.width / 250);
  for (const { class_name, score, box } of answer.boxes ?? []) {
    const [top, left, bottom, right] = [y(box[0]), x(box[1]), y(box[2]), x(box[3])];
    brush.strokeStyle = brush.fillStyle = colour(about.class_names.indexOf(class_name));
    brush.strokeRect(left, top, right - left, bottom - top);
    const text = `${class_name} ${percent(score)}`;
    const above = Math.max(top, size * 1.4);
    brush.fillRect(left - brush.lineWidth / 2, above - size * 1.4, brush.measureText(text).width + size * 0.7, size * 1.4);
    brush.fillStyle = "#000";
    brush.fillText(text, left + size * 0.3, above - size * 0.4);
  }
}

function mask(classes, { image_size: size, class_names }) {
  const canvas = new OffscreenCanvas(size, size);
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const colours = class_names.map((_, place) => {
    brush.fillStyle = colour(place);
    brush.fillRect(0, 0, 1, 1);
    return brush.getImageData(0, 0, 1, 1).data;
  });
  const pixels = brush.createImageData(size, size);
  classes.forEach((each, place) => {
    if (class_names[each] !== BACKGROUND) pixels.data.set(colours[each], place * 4);
  });
  brush.putImageData(pixels, 0, 0);
  return canvas;
}
