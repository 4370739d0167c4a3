// The drawings in use: a cursor through all of them, and what is to be said of it. Drag to zoom (in the map both ways),
// double-click for all, click to hold the cursor.

class RunViews extends RunDrawing {
  constructor(root, data) {
    super(root, data);
    this.held = false;
    this.cursor = null;
    for (const name of Object.keys(this.paintings)) this.listen(name);
    root.querySelectorAll("[data-do]").forEach((button) =>
      button.addEventListener("click", () => this.act(button.dataset.do)));
    root.querySelectorAll("input[name=policy]").forEach((choice) =>
      choice.addEventListener("change", () => this.show(Number(choice.value))));
    root.querySelector(".panels").addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.width !== root.clientWidth && this.draw()).observe(root);
  }

  show(index) {
    this.run = this.data.run(index);
    this.whole = { begin: 0, end: Math.max(1, this.run.end), low: 0, high: this.heightOf(this.run) };
    this.view = { ...this.whole };
    this.cursor = this.run.memory.peak;
    this.held = false;
    this.layers = this.layers || new LayerViews(this.root, this.data);
    this.draw();
    this.layers.show(this.run);
  }

  draw() {
    if (!this.run) return;
    super.draw();
    this.hover(null);
    this.point(this.cursor);
  }

  listen(name) {
    const canvas = this.paintings[name].canvas, box = this.part("band");
    let from = null;
    const place = (event) => {
      const sides = canvas.getBoundingClientRect();
      return [event.clientX - sides.left, event.clientY - sides.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      from = place(event);
      if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (from && event.pointerType === "mouse" && Math.abs(x - from[0]) > 4) this.band(box, canvas, from, [x, y], name);
      else if (!this.held) {
        this.point(this.timeAt(x));
        this.hover(name === "map" ? this.blockAt(this.timeAt(x), this.placeAt(y)) : null, x, y);
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      const to = place(event);
      box.hidden = true;
      if (from && Math.abs(to[0] - from[0]) > 4 && event.pointerType === "mouse") this.zoomTo(from, to, name);
      else if (from) {
        this.held = !this.held && event.pointerType === "mouse";
        this.point(this.timeAt(to[0]));
        this.hover(name === "map" ? this.blockAt(this.timeAt(to[0]), this.placeAt(to[1])) : null, ...to);
      }
      from = null;
    });
    canvas.addEventListener("pointerleave", () => !this.held && this.hover(null));
    canvas.addEventListener("dblclick", () => this.act("all"));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return; // the page scrolls
      event.preventDefault();
      this.zoom(event.deltaY + event.deltaX < 0 ? 0.7 : 1 / 0.7, this.timeAt(place(event)[0]));
    }, { passive: false });
  }

  band(box, canvas, from, to, name) {
    const sides = canvas.getBoundingClientRect(), of = this.root.querySelector(".panels").getBoundingClientRect();
    const [x0, x1] = [from[0], to[0]].sort((a, b) => a - b);
    const [y0, y1] = name === "map" ? [from[1], to[1]].sort((a, b) => a - b) : [0, sides.height];
    box.hidden = false;
    Object.assign(box.style, {
      left: `${sides.left - of.left + x0}px`, width: `${x1 - x0}px`,
      top: `${sides.top - of.top + y0}px`, height: `${y1 - y0}px`,
    });
  }

  zoomTo(from, to, name) {
    const [begin, end] = [this.timeAt(from[0]), this.timeAt(to[0])].sort((a, b) => a - b);
    const [low, high] = [this.placeAt(from[1]), this.placeAt(to[1])].sort((a, b) => a - b);
    if (end - begin < 10) return;
    Object.assign(this.view, { begin, end }, name === "map" && Math.abs(from[1] - to[1]) > 12 ? { low, high } : {});
    this.draw();
  }

  zoom(factor, around = this.cursor) {
    const { begin, end } = this.view, whole = this.whole, length = Math.min(whole.end, (end - begin) * factor);
    const share = (Math.min(end, Math.max(begin, around)) - begin) / (end - begin);
    const from = Math.max(0, Math.min(whole.end - length, begin + share * (end - begin) - share * length));
    if (length < 10) return;
    Object.assign(this.view, { begin: from, end: from + length });
    this.draw();
  }

  shift(share) {
    const { begin, end } = this.view, by = share * (end - begin);
    const from = Math.max(0, Math.min(this.whole.end - (end - begin), begin + by));
    Object.assign(this.view, { begin: from, end: from + end - begin });
    this.draw();
  }

  act(what) {
    if (what === "all") Object.assign(this.view, this.whole);
    else if (what === "peak") {
      this.held = true;
      this.cursor = this.run.memory.peak;
      this.zoom(0.25);
    } else if (what === "changes") {
      Object.assign(this.view, this.whole, { end: this.run.changes });
    } else if (what === "in" || what === "out") this.zoom(what === "in" ? 0.5 : 2);
    else this.shift(what === "later" ? 0.5 : -0.5);
    this.draw();
  }

  key(event) {
    const step = (this.view.end - this.view.begin) / (event.shiftKey ? 10 : 100);
    const acts = { "+": "in", "=": "in", "-": "out", 0: "all", Home: "all", PageUp: "earlier", PageDown: "later" };
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const { begin, end } = this.view, to = this.cursor + (event.key === "ArrowLeft" ? -step : step);
      this.point(Math.max(begin, Math.min(end, to)));
    } else if (event.key in acts) this.act(acts[event.key]);
    else return;
    event.preventDefault();
  }

  // The cursor at a moment, and what is to be said of it.
  point(time) {
    this.cursor = time;
    const line = this.part("cursor"), x = this.x(time);
    line.hidden = x < left - 1 || x > left + this.paintings.map.inner + 1;
    line.style.transform = `translateX(${x}px)`;
    line.classList.toggle("held", this.held);
    this.root.dataset.cursor = Math.round(time);
    const { memory } = this.run, at = lastUpTo(memory.moments, time), classes = this.data.classNames.length;
    this.part("when").textContent = timeText(time) + (this.held ? " (held; a click frees it)" : "");
    for (const chip of this.root.querySelectorAll("[data-class]")) {
      const number = Number(chip.dataset.class);
      chip.textContent = bytesText(at < 0 ? 0 : memory.levels[at * classes + number]);
    }
    this.part("total").textContent = bytesText(at < 0 ? 0 : memory.totals[at]);
    for (const [name, words] of Object.entries(this.wordsAt(time))) this.part(name).textContent = words;
  }

  wordsAt(time) {
    const { kernels, stalls, copies, steps, lanes } = this.run, { strings } = this.data;
    const at = (spans) => {
      const index = lastUpTo(spans.begin, time);
      return index >= 0 && time < spans.end[index] ? index : -1;
    };
    const step = at(steps), kernel = at(kernels), stall = at(stalls);
    const copied = (name) => {
      const place = at(lanes[name]);
      if (place < 0) return "–";
      const index = lanes[name].ids[place], bytes = copies.bytes[index], rate = bytes / copies.length[index];
      return `${strings[copies.buffer[index]]}, ${bytesText(bytes)} in ${timeText(copies.length[index])} ` +
        `(${rate.toFixed(2)} GB/s)`;
    };
    const algorithm = kernel >= 0 && strings[kernels.algorithm[kernel]];
    return {
      layer: step >= 0 ? strings[steps.title[step]] : "–",
      compute: kernel >= 0
        ? `${strings[kernels.layer[kernel]]} ${strings[kernels.pass[kernel]]}` +
          `${algorithm && algorithm !== "default" ? `, ${algorithm}` : ""}, ${timeText(kernels.length[kernel])}`
        : stall >= 0
          ? `waits ${timeText(stalls.length[stall])} for ${stalls.out[stall] ? "copy out" : "copy in"} ` +
            `${strings[stalls.buffer[stall]]}${stalls.late[stall] ? ", fetched late" : ""}`
          : "idle",
      out: copied("copy out"),
      in: copied("copy in"),
    };
  }

  blockAt(time, place) {
    const { taken, given, place: places, size, count } = this.run.memory;
    for (let index = count - 1; index >= 0; index--)
      if (taken[index] <= time && time <= given[index] && places[index] <= place && place < places[index] + size[index])
        return index;
    return null;
  }

  addressOf(place) {
    const stretch = this.run.stretches.findLast(([start]) => start <= place);
    return stretch[1] + place - stretch[0];
  }

  hover(index, x, y) {
    const tip = this.part("tip"), outline = this.part("outline"), { memory } = this.run;
    tip.hidden = outline.hidden = index === null;
    if (index === null) return;
    const sides = this.paintings.map.canvas.getBoundingClientRect();
    const of = this.root.querySelector(".panels").getBoundingClientRect();
    const [boxX, boxY, width, height] = this.sides(index), top = sides.top - of.top;
    const x0 = Math.max(left, boxX), y0 = Math.max(4, boxY);
    Object.assign(outline.style, {
      left: `${x0}px`, top: `${top + y0}px`,
      width: `${Math.min(left + this.paintings.map.inner, boxX + width) - x0}px`,
      height: `${Math.min(4 + mapHeight, boxY + height) - y0}px`,
    });
    const address = this.addressOf(memory.place[index]);
    const rows = [
      this.data.strings[memory.buffer[index]],
      `${this.data.strings[memory.class[index]]}, taken in ${this.data.strings[memory.title[index]]}`,
      `${bytesText(memory.asked[index])} (${memory.asked[index].toLocaleString("en")} bytes) at 0x${address.toString(16)}`,
      `${timeText(memory.taken[index])} to ${memory.kept[index] ? "the end" : timeText(memory.given[index])}, ` +
        `lives ${timeText(memory.given[index] - memory.taken[index])}`,
    ];
    tip.replaceChildren(...rows.map((text, row) => {
      const line = document.createElement(row ? "div" : "strong");
      line.textContent = text;
      return line;
    }));
    const room = of.width - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(0, Math.min(room, x + 14))}px`;
    tip.style.top = `${top + y + 16}px`;
  }
}
