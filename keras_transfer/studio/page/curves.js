// Draws how a training goes: one line over the epochs of all stages, a rule where a stage begins.
import { make, percent } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [520, 220, 46, 12, 14, 26];

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Round numbers between two ends, three to six of them. */
function ticks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) found.push(tick);
  return found;
}

function chart(caption, lines, starts, total, told) {
  const values = lines.flatMap((line) => line.points.map(([, value]) => value));
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high - low < 1e-6) [low, high] = [low - 0.05, high + 0.05];
  const margin = (high - low) * 0.08;
  [low, high] = [Math.max(0, low - margin), high + margin];
  const x = (epoch) => LEFT + ((epoch - 0.5) / Math.max(1, total)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${caption}. ${lines.map((line) => line.said).join(". ")}` });
  for (const tick of ticks(low, high))
    drawing.append(
      shape("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      shape("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, told(tick)),
    );
  for (const { name, epoch } of starts) {
    const place = LEFT + (epoch / Math.max(1, total)) * (WIDTH - LEFT - RIGHT);
    if (epoch) drawing.append(shape("line", { class: "rule", x1: place, x2: place, y1: TOP, y2: HEIGHT - BOTTOM }));
    drawing.append(shape("text", { x: place + (epoch ? 6 : 0), y: HEIGHT - 8 }, name));
  }
  for (const { points, soft } of lines) {
    for (const run of runs(points)) drawing.append(shape("polyline", { class: soft ? "line soft" : "line", points: run.map(([epoch, value]) => `${x(epoch)},${y(value)}`).join(" ") }));
    const last = points.at(-1);
    if (last && !soft) drawing.append(shape("circle", { class: "dot", cx: x(last[0]), cy: y(last[1]), r: 3.5 }));
  }
  return make("figure", { className: "chart" }, make("figcaption", {}, caption), drawing);
}

/** Points as lines that break where a stage begins. */
function runs(points) {
  const found = [];
  let before = null;
  for (const [epoch, value, stage] of points) {
    if (stage !== before) found.push([]);
    found.at(-1).push([epoch, value]);
    before = stage;
  }
  return found;
}

/** The curves of a training; stages: as the studio tells them, each row [epoch, loss, validation loss, merit]. */
export function curves(stages, merit) {
  const starts = [];
  const rows = [];
  let behind = 0;
  for (const stage of stages) {
    starts.push({ name: stage.name, epoch: behind });
    for (const row of stage.rows) rows.push([behind + row[0], stage.name, row]);
    behind += stage.state === "learns" || stage.state === "to come" ? Math.max(stage.epochs, stage.rows.length) : stage.rows.length;
  }
  if (!rows.length) return null;
  const line = (column, said, soft = false) => {
    const points = rows.filter(([, , row]) => row[column] !== null).map(([epoch, stage, row]) => [epoch, row[column], stage]);
    return { points, soft, said: points.length ? `${said} ${points.at(-1)[1].toFixed(3)} in the last epoch` : said };
  };
  const losses = [line(2, "validation"), line(1, "training", true)].filter((each) => each.points.length);
  return make(
    "div",
    { className: "charts" },
    chart(`Validation ${merit}`, [line(3, merit)], starts, behind, (value) => percent(value).replace(".0 %", " %")),
    chart("Loss: validation, and training (dashed)", losses, starts, behind, (value) => value.toFixed(value < 1 ? 2 : 1)),
  );
}
