// Three drawings of one run over one time: bytes by class, where each block lies, what the engines do.

const levelsHeight = 150, mapHeight = 340, laneHeight = 20, laneGap = 6, axisHeight = 34, topGap = 30;

class RunDrawing {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    const ofDrives = ["nvme write", "nvme read"].filter((name) => data.strings.includes(name));
    this.copying = ["copy out", "copy in", ...ofDrives];
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.paintings = {
      levels: new Painting(this.part("levels"), levelsHeight + topGap),
      map: new Painting(this.part("map"), mapHeight + 8),
      lanes: new Painting(this.part("lanes"), (4 + this.copying.length) * (laneHeight + laneGap) + axisHeight),
    };
  }

  draw() {
    this.width = this.root.clientWidth;
    for (const painting of Object.values(this.paintings)) painting.begin();
    this.drawLevels();
    this.drawMap();
    this.drawLanes();
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
    this.run.lanes = this.run.lanes || Object.fromEntries(this.copying.map((name) =>
      [name, of(copies, (index) => strings[copies.engine[index]] === name)]));
    const copied = (name) => (index) => strings[copies.buffer[this.run.lanes[name].ids[index]]].replace(/^map:/, "");
    return [
      ["layers", steps, (i) => passes[steps.backward[i] ? "backward" : "forward"],
        (i) => strings[steps.title[i]].replace(/ (forward|backward)$/, "")],
      ["compute", kernels, () => engines.compute, (i) => strings[kernels.layer[i]]],
      ["stall", stalls, () => engines.stall, (i) => strings[stalls.buffer[i]].replace(/^map:/, "")],
      ...this.copying.map((name) => [name, this.run.lanes[name], () => engines.copy, copied(name)]),
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
}
