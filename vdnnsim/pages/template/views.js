// Three views of one run over one time: bytes by class, where each block lies, what the engines do; and a cursor
// through all of them. Drag to zoom (in the map both ways), double-click for all, click to hold the cursor.

const levelsHeight = 150, mapHeight = 340, laneHeight = 20, laneGap = 6, axisHeight = 34, topGap = 30;

class RunViews {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.held = false;
    this.cursor = null;
    this.paintings = {
      levels: new Painting(this.part("levels"), levelsHeight + topGap),
      map: new Painting(this.part("map"), mapHeight + 8),
      lanes: new Painting(this.part("lanes"), 6 * (laneHeight + laneGap) + axisHeight),
    };
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

  // What the map's axis goes up to: the capacity, unless it is so far away that the rest would be specks.
  heightOf(run) {
    const far = this.data.capacity > 2.5 * run.placeEnd;
    return 1.04 * Math.max(1, run.placeEnd, far ? 0 : this.data.capacity);
  }

  x(time) {
    const { begin, end } = this.view;
    return left + ((time - begin) / (end - begin)) * this.paintings.map.inner;
  }

  y(place) {
    const { low, high } = this.view;
    return 4 + mapHeight - ((place - low) / (high - low)) * mapHeight;
  }

  timeAt(x) {
    const { begin, end } = this.view;
    return Math.min(end, Math.max(begin, begin + ((x - left) / this.paintings.map.inner) * (end - begin)));
  }

  placeAt(y) {
    const { low, high } = this.view;
    return Math.min(high, Math.max(low, low + ((4 + mapHeight - y) / mapHeight) * (high - low)));
  }

  draw() {
    if (!this.run) return;
    this.width = this.root.clientWidth;
    for (const painting of Object.values(this.paintings)) painting.begin();
    this.drawLevels();
    this.drawMap();
    this.drawLanes();
    this.point(this.cursor);
  }

  drawLevels() {
    const painting = this.paintings.levels, { memory, peak } = this.run, { begin, end } = this.view;
    const { levels, totals, moments } = memory, classes = this.data.classNames.length;
    const far = this.data.capacity > 2.5 * peak;
    const high = 1.06 * Math.max(1, peak, far ? 0 : this.data.capacity), bottom = levelsHeight + topGap - 6;
    const scale = (bottom - topGap) / high, perDot = (end - begin) / painting.inner / 2;
    painting.rows(0, high, topGap, bottom, "in use");
    let at = Math.max(0, lastUpTo(moments, begin));
    for (let dot = 0; dot < painting.inner * 2 && moments.length; dot++) {
      const stop = begin + (dot + 1) * perDot;
      let most = at;
      while (at + 1 < moments.length && moments[at + 1] < stop) if (totals[++at] > totals[most]) most = at;
      let base = bottom;
      for (let number = 0; number < classes; number++) {
        const height = levels[most * classes + number] * scale;
        if (!height) continue;
        painting.pen.fillStyle = this.data.classColours[number];
        painting.pen.fillRect(left + dot / 2, base - height, 0.6, height);
        base -= height;
      }
    }
    if (!far) {
      const y = bottom - this.data.capacity * scale;
      painting.line(left, y, left + painting.inner, y, ink("limit"), 1, [5, 3]);
    }
    this.mark(painting, topGap, bottom, this.run.turn, true);
    painting.frame(topGap, bottom);
  }

  // Where backward begins, and the moment of the peak.
  mark(painting, top, bottom, turn, named) {
    const { memory, peak } = this.run, right = left + painting.inner, inside = (x) => x >= left && x <= right;
    const turned = turn === null || turn === undefined ? -1 : this.x(turn), x = this.x(memory.peak);
    if (inside(turned)) {
      painting.line(turned, top, turned, bottom, ink("ink"), 1, [1, 2]);
      if (named && turned - left > 50) painting.text("forward", turned - 4, top - 22, ink("ink"), "right");
      if (named && right - turned > 60) painting.text("backward", turned + 4, top - 22, ink("ink"));
    }
    if (!inside(x)) return;
    painting.line(x, top - (named ? 4 : 0), x, bottom, ink("ink"), 1);
    if (!named) return;
    painting.text("▼", x, top - 8, ink("ink"), "center");
    const words = `peak ${bytesText(peak)}`, toLeft = x + painting.pen.measureText(words).width + 10 > right;
    painting.text(words, x + (toLeft ? -7 : 7), top - 9, ink("ink"), toLeft ? "right" : "left");
  }

  drawMap() {
    const painting = this.paintings.map, pen = painting.pen, { memory, placeEnd, stretches, lost } = this.run;
    const { begin, end, low, high } = this.view, bottom = 4 + mapHeight;
    const shaded = Math.max(4, this.y(placeEnd));
    pen.fillStyle = ink("shade");
    pen.fillRect(left, shaded, painting.inner, Math.max(0, Math.min(bottom, this.y(0)) - shaded));
    painting.rows(low, high, 4, bottom, "address");
    pen.save();
    pen.beginPath();
    pen.rect(left, 4, painting.inner, mapHeight);
    pen.clip();
    let drawn = 0;
    const order = (memory.order = memory.order || Array.from({ length: memory.count }, (_, index) => index).sort(
      (one, other) => memory.given[other] - memory.taken[other] - memory.given[one] + memory.taken[one]));
    for (const index of order) {
      if (memory.given[index] < begin || memory.taken[index] > end) continue;
      if (memory.place[index] > high || memory.place[index] + memory.size[index] < low) continue;
      this.box(index, pen);
      drawn++;
    }
    this.root.dataset.blocks = drawn;
    for (const [start] of stretches.slice(1))
      painting.line(left, this.y(start), left + painting.inner, this.y(start), ink("hatch"));
    if (this.data.capacity <= high)
      painting.line(left, this.y(this.data.capacity), left + painting.inner, this.y(this.data.capacity), ink("limit"),
        1, [5, 3]);
    if (lost !== null) this.drawLost(painting, lost);
    this.mark(painting, 4, bottom, this.run.turn, false);
    pen.restore();
    painting.frame(4, bottom);
  }

  sides(index) {
    const { taken, given, place, size } = this.run.memory;
    const x = this.x(taken[index]), top = this.y(place[index] + size[index]);
    return [x, top, Math.max(0.5, this.x(given[index]) - x), Math.max(0.5, this.y(place[index]) - top)];
  }

  box(index, pen) {
    const [x, top, width, height] = this.sides(index);
    pen.fillStyle = this.data.classColours[this.run.memory.classOf[index]];
    const edge = width > 4 && height > 4 ? 0.5 : 0;
    pen.fillRect(x, top + edge, Math.max(0.5, width - edge), height - edge);
  }

  // The block that found no room: edged, with a cross where it was asked for.
  drawLost(painting, index) {
    const pen = painting.pen, [x, top, width, height] = this.sides(index), middle = top + height / 2;
    pen.strokeStyle = ink("limit");
    pen.lineWidth = 2;
    pen.strokeRect(x, top, width, height);
    for (const colour of ["white", ink("limit")]) {
      const size = 6;
      painting.line(x - size, middle - size, x + size, middle + size, colour, colour === "white" ? 5 : 3);
      painting.line(x - size, middle + size, x + size, middle - size, colour, colour === "white" ? 5 : 3);
    }
    const words = `out of memory: no room for ${bytesText(this.run.memory.asked[index])}`;
    const toLeft = x > left + painting.inner / 2;
    const from = x + (toLeft ? -14 - pen.measureText(words).width : 10);
    pen.fillStyle = "white";
    pen.fillRect(from, middle - 8, pen.measureText(words).width + 6, 16);
    painting.text(words, from + 3, middle, ink("limit"));
  }

  lanes() {
    const { steps, kernels, copies, stalls, waits } = this.run, { strings, engines, passes } = this.data;
    const of = (spans, keep) => {
      const kept = Array.from({ length: spans.count }, (_, index) => index).filter(keep);
      return { ids: kept, begin: kept.map((i) => spans.begin[i]), end: kept.map((i) => spans.end[i]), count: kept.length };
    };
    this.run.lanes = this.run.lanes || {
      "copy out": of(copies, (index) => copies.out[index]),
      "copy in": of(copies, (index) => !copies.out[index]),
    };
    const copied = (name) => (index) => strings[copies.buffer[this.run.lanes[name].ids[index]]].replace(/^map:/, "");
    return [
      ["layers", steps, (i) => passes[steps.backward[i] ? "backward" : "forward"],
        (i) => strings[steps.title[i]].replace(/ (forward|backward)$/, "")],
      ["compute", kernels, () => engines.compute, (i) => strings[kernels.layer[i]]],
      ["stall", stalls, () => engines.stall, (i) => strings[stalls.buffer[i]].replace(/^map:/, "")],
      ["copy out", this.run.lanes["copy out"], () => engines.copy, copied("copy out")],
      ["copy in", this.run.lanes["copy in"], () => engines.copy, copied("copy in")],
      ["host waits", waits, () => ink("hatch"), () => ""],
    ];
  }

  drawLanes() {
    const painting = this.paintings.lanes, { begin, end } = this.view;
    const lanes = this.lanes(), bottom = lanes.length * (laneHeight + laneGap);
    const { unit, ticks } = axisOf(begin, end, timeUnits, Math.floor(painting.inner / 80), this.whole.end);
    for (const [value, text] of ticks) {
      painting.line(this.x(value), 0, this.x(value), bottom + 4, ink("grid"));
      painting.text(text, this.x(value), bottom + 12, ink("ink"), "center");
    }
    painting.text(`time (${unit})`, left + painting.inner / 2, bottom + 27, ink("ink"), "center");
    lanes.forEach(([name, spans, colourOf, nameOf], row) => {
      const top = row * (laneHeight + laneGap) + 2;
      painting.text(name, left - 6, top + laneHeight / 2, ink("ink"), "right");
      painting.lane(spans, this.view, top, laneHeight, colourOf, nameOf);
    });
    const { steps } = this.run;
    this.mark(painting, 0, bottom, steps.begin[steps.backward.indexOf(1)], false);
    painting.frame(0, bottom);
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
