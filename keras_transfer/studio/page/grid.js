// A grid of any number of pictures: only those in sight are in the page, and only their parts of the list are asked for.
import { find, make } from "./dom.js";

const PART = 200; // pictures that are asked for at a time
const LEAST = 118; // pixels of a tile
const GAP = 12;
const UNDER = 30; // pixels of the line below a picture
const BEYOND = 3; // rows above and below the window that are there already

export class Grid {
  /**
   * root: an element of its own; load(offset, limit): gives { total, pictures }; open(picture): looks at one;
   * chosen(ids): is told when the selection has changed; out(): the person wants what is selected left out.
   */
  constructor(root, { load, open, chosen, out }) {
    Object.assign(this, { root, load, open, chosen, out });
    this.total = 0;
    this.parts = new Map();
    this.asked = new Set();
    this.selected = new Set();
    this.tiles = new Map();
    this.here = 0;
    this.anchor = null;
    this.turn = 0;
    root.className = "tiles";
    root.tabIndex = 0;
    root.addEventListener("click", (event) => this.clicked(event));
    root.addEventListener("dblclick", (event) => this.opened(event.target));
    root.addEventListener("keydown", (event) => this.key(event));
    this.see = () => this.draw();
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(root);
    addEventListener("scroll", this.see, { passive: true });
  }

  leave() {
    removeEventListener("scroll", this.see);
    this.watch.disconnect();
  }

  /** Begins anew with another list. */
  async reset() {
    this.selected.clear();
    this.anchor = null;
    this.here = 0;
    this.tell();
    await this.refresh();
  }

  /** Asks again for what is in sight: pictures may have changed. */
  async refresh() {
    this.turn += 1;
    this.asked.clear();
    const turn = this.turn;
    const first = Math.max(0, Math.floor(this.range().first / PART));
    await this.ask(first, turn);
    if (turn === this.turn) this.draw();
  }

  async ask(part, turn = this.turn) {
    if (this.asked.has(part)) return;
    this.asked.add(part);
    const { total, pictures } = await this.load(part * PART, PART).catch((error) => {
      this.asked.delete(part);
      throw error;
    });
    if (turn !== this.turn) return;
    if (total !== this.total) this.parts.clear();
    this.total = total;
    this.parts.set(part, pictures);
    if (this.here >= total) this.here = Math.max(0, total - 1);
    this.draw();
  }

  at(index) {
    return this.parts.get(Math.floor(index / PART))?.[index % PART];
  }

  layout() {
    const width = this.root.clientWidth;
    const columns = Math.max(2, Math.floor((width + GAP) / (LEAST + GAP)));
    const side = Math.floor((width - GAP * (columns - 1)) / columns);
    return { columns, side, row: side + UNDER + GAP };
  }

  range() {
    const { columns, row } = this.layout();
    const top = -this.root.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / row) - BEYOND);
    const last = Math.ceil((top + innerHeight) / row) + BEYOND;
    return { first: first * columns, last: Math.max(0, Math.min(this.total, last * columns)) };
  }

  draw() {
    const { columns, side, row } = this.layout();
    this.root.style.height = `${Math.ceil(this.total / columns) * row}px`;
    if (this.total) {
      this.root.setAttribute("role", "listbox");
      this.root.setAttribute("aria-multiselectable", "true");
      this.root.setAttribute("aria-label", "Pictures");
    } else for (const name of ["role", "aria-multiselectable", "aria-label", "aria-activedescendant"]) this.root.removeAttribute(name);
    const { first, last } = this.range();
    for (const [index, tile] of this.tiles)
      if (index < first || index >= last) {
        tile.remove();
        this.tiles.delete(index);
      }
    for (let index = first; index < last; index += 1) {
      this.ask(Math.floor(index / PART)).catch(() => {});
      this.place(index, columns, side, row);
    }
    const here = find(`tile-${this.here}`);
    if (here && this.total) this.root.setAttribute("aria-activedescendant", here.id);
    else this.root.removeAttribute("aria-activedescendant");
  }

  place(index, columns, side, row) {
    const picture = this.at(index);
    const shown = JSON.stringify(picture ?? null);
    let tile = this.tiles.get(index);
    if (!tile || tile.shown !== shown) {
      const made = drawn(index, picture);
      made.shown = shown;
      if (tile) tile.replaceWith(made);
      else this.root.append(made);
      this.tiles.set(index, made);
      tile = made;
    }
    tile.setAttribute("aria-selected", String(Boolean(picture && this.selected.has(picture.id))));
    tile.setAttribute("aria-setsize", this.total);
    tile.classList.toggle("here", index === this.here);
    tile.style.width = `${side}px`;
    tile.style.transform = `translate(${(index % columns) * (side + GAP)}px, ${Math.floor(index / columns) * row}px)`;
  }

  indexOf(element) {
    const tile = element.closest?.(".tile");
    return tile ? Number(tile.dataset.index) : null;
  }

  clicked(event) {
    const index = this.indexOf(event.target);
    if (index === null) return;
    this.toggle(index, event.shiftKey);
  }

  opened(element) {
    const picture = this.at(this.indexOf(element) ?? -1);
    if (picture) this.open(picture);
  }

  toggle(index, through = false) {
    const picture = this.at(index);
    if (!picture) return;
    if (through && this.anchor !== null) {
      const [from, to] = [Math.min(this.anchor, index), Math.max(this.anchor, index)];
      for (let each = from; each <= to; each += 1) if (this.at(each)) this.selected.add(this.at(each).id);
    } else if (this.selected.has(picture.id)) this.selected.delete(picture.id);
    else this.selected.add(picture.id);
    this.anchor = index;
    this.here = index;
    this.tell();
  }

  select(ids) {
    this.selected = new Set(ids);
    this.tell();
  }

  tell() {
    this.chosen([...this.selected]);
    this.draw();
  }

  key(event) {
    const { columns } = this.layout();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -columns * 4, PageDown: columns * 4 };
    const ends = { Home: -this.total, End: this.total };
    const step = steps[event.key] ?? ends[event.key];
    if (step !== undefined) this.move(Math.max(0, Math.min(this.total - 1, this.here + step)), event.shiftKey);
    else if (event.key === " ") this.toggle(this.here, event.shiftKey);
    else if (event.key === "Enter") this.opened(this.tiles.get(this.here) ?? event.target);
    else if (event.key === "Escape") this.select([]);
    else if (event.key === "Delete" && this.selected.size) this.out();
    else return;
    event.preventDefault();
  }

  move(index, through) {
    if (through) {
      this.anchor ??= this.here;
      const anchor = this.anchor;
      this.toggle(index, true);
      this.anchor = anchor;
    }
    this.here = index;
    const { columns, row } = this.layout();
    const top = this.root.getBoundingClientRect().top + Math.floor(index / columns) * row;
    if (top < 140) scrollBy(0, top - 140);
    else if (top + row > innerHeight - 90) scrollBy(0, top + row - innerHeight + 90);
    this.draw();
  }

  /** What is known of pictures by their ids: of those whose part of the list was asked for. */
  known(ids) {
    const wanted = new Set(ids);
    return [...this.parts.values()].flatMap((part) => part.filter((each) => wanted.has(each.id)));
  }

  /** The picture that is selected, where it is one alone. */
  one() {
    return this.selected.size === 1 ? (this.known(this.selected)[0] ?? null) : null;
  }
}

function drawn(index, picture) {
  const tile = make("div", { id: `tile-${index}`, className: "tile", role: "option", "aria-posinset": index + 1, data: { index } });
  const look = make("span", { className: "look" });
  if (!picture) {
    tile.setAttribute("aria-label", "loading");
    tile.append(look, make("span", { className: "under soft" }, make("span", {}, "…")));
    return tile;
  }
  const label = picture.label ?? "no class";
  const said = [picture.name, label, picture.out ? "left out" : "", picture.given ? `was ${picture.given}` : "", picture.told ?? ""];
  tile.setAttribute("aria-label", said.filter(Boolean).join(", "));
  tile.title = [picture.key, picture.told].filter(Boolean).join("\n");
  tile.classList.toggle("out", picture.out);
  look.append(thumbnail(picture));
  tile.append(look, make("span", { className: "under" }, make("span", {}, label), picture.given || picture.added ? make("span", { className: "dot" }) : null));
  return tile;
}

/** A small picture, or a sentence where the file is none. */
export function thumbnail(picture, size = "small") {
  const image = make("img", { src: `/api/pictures/${picture.id}/${size}`, alt: "", decoding: "async", draggable: false });
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "broken" }, "cannot be read")));
  return image;
}
