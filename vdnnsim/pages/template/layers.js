// Layer by layer: how long each computes and waits, as columns, and the table of them.

class LayerViews {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.painting = new Painting(root.querySelector('[data-part="layers"]'), 190);
    this.said = root.querySelector('[data-part="layer-at"]');
    this.painting.canvas.addEventListener("pointermove", (event) =>
      this.point(event.clientX - this.painting.canvas.getBoundingClientRect().left));
    new ResizeObserver(() => this.run && this.width !== root.clientWidth && this.draw()).observe(root);
  }

  show(run) {
    this.run = run;
    this.draw();
    this.list();
    const { stall_ns: stall } = run.layers, most = stall.indexOf(Math.max(...stall, 0));
    this.said.textContent = stall.some((ns) => ns) ? this.words(most) : "No layer waits for a copy.";
  }

  // Forward, backward, and of both what they waited.
  parts(index) {
    const { forward_ns: forward, backward_ns: backward, stall_ns: stall } = this.run.layers;
    const waited = stall[index], both = forward[index] + backward[index], working = Math.max(0, both - waited);
    return [[working, this.data.engines.compute], [waited, this.data.engines.stall]];
  }

  draw() {
    this.width = this.root.clientWidth;
    const painting = this.painting, pen = painting.begin(), layers = this.run.layers, count = layers.layer.length;
    const bottom = 150, top = 8;
    const high = 1.04 * Math.max(1, ...layers.forward_ns.map((ns, index) => ns + layers.backward_ns[index]));
    const { unit, ticks } = axisOf(0, high, timeUnits, 4);
    for (const [value, text] of ticks) {
      const y = bottom - (value / high) * (bottom - top);
      painting.line(left, y, left + painting.inner, y, ink("grid"));
      painting.text(text, left - 6, y, ink("ink"), "right");
    }
    const room = painting.inner / Math.max(1, count), most = Math.max(1, Math.ceil(18 / room));
    for (let index = 0; index < count; index++) {
      let base = bottom;
      for (const [ns, colour] of this.parts(index)) {
        const height = (ns / high) * (bottom - top);
        pen.fillStyle = colour;
        pen.fillRect(left + index * room, base - height, Math.max(0.5, room * (room > 3 ? 0.8 : 1)), height);
        base -= height;
      }
      if (index % most) continue;
      pen.save();
      pen.translate(left + (index + 0.4) * room, bottom + 5);
      pen.rotate(-Math.PI / 4);
      const name = this.data.strings[layers.layer[index]];
      painting.text(name.length > 9 ? `…${name.slice(-8)}` : name, 0, 0, ink("ink"), "right");
      pen.restore();
    }
    pen.save();
    pen.translate(11, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    painting.text(`time (${unit})`, 0, 0, ink("ink"), "center");
    pen.restore();
    painting.frame(top, bottom);
  }

  point(x) {
    const count = this.run.layers.layer.length;
    const index = Math.floor(((x - left) / this.painting.inner) * count);
    if (index >= 0 && index < count) this.said.textContent = this.words(index);
  }

  words(index) {
    const { layers } = this.run, { strings } = this.data, waited = layers.stall_ns[index];
    return `${strings[layers.layer[index]]}: forward ${timeText(layers.forward_ns[index])}, backward ` +
      `${timeText(layers.backward_ns[index])}` +
      (waited ? `, of these it waits ${timeText(waited)} for ${strings[layers.stalled[index]]}` : ", waits for no copy");
  }

  list() {
    const { layers } = this.run, { strings } = this.data;
    const ms = (ns) => (ns / 1e6).toFixed(3), mb = (bytes) => (bytes / 1e6).toFixed(2);
    const rows = layers.layer.map((layer, index) => [
      strings[layer], strings[layers.kind[index]], ms(layers.forward_ns[index]), ms(layers.backward_ns[index]),
      ms(layers.kernel_ns[index]), ms(layers.stall_ns[index]), mb(layers.offloaded_bytes[index]),
      mb(layers.prefetched_bytes[index]), ms(layers.reuse_distance_ns[index]), strings[layers.stalled[index]],
      strings[layers.algorithms[index]],
    ]);
    this.root.querySelector('[data-part="layer-rows"]').replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((text, column) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        if (column > 1 && column < cells.length - 2) cell.className = "number";
        return cell;
      }));
      return row;
    }));
  }
}
