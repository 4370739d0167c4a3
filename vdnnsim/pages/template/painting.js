// Canvases: as sharp as the screen, twice as sharp on paper; and the marks that the views share.

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const font = "11px system-ui, sans-serif";
const left = 70, right = 14;

// White, or ink on colours that are too light for it.
function readableOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 135 ? ink("ink") : "white";
}

class Painting {
  constructor(canvas, height) {
    this.canvas = canvas;
    this.height = height;
  }

  begin() {
    const sharp = Math.max(2, window.devicePixelRatio || 1);
    this.width = Math.max(240, this.canvas.parentElement.clientWidth);
    this.canvas.width = Math.round(this.width * sharp);
    this.canvas.height = Math.round(this.height * sharp);
    this.canvas.style.height = `${this.height}px`;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    pen.font = font;
    pen.textBaseline = "middle";
    this.inner = this.width - left - right;
    return (this.pen = pen);
  }

  text(words, x, y, colour, align = "left") {
    this.pen.fillStyle = colour;
    this.pen.textAlign = align;
    this.pen.fillText(words, x, y);
  }

  line(x0, y0, x1, y1, colour, width = 1, dash = []) {
    const pen = this.pen;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
    pen.setLineDash([]);
  }

  // A vertical axis with lines across, from the bottom up.
  rows(low, high, top, bottom, what) {
    const { unit, ticks } = axisOf(low, high, byteUnits, Math.floor((bottom - top) / 34));
    for (const [value, text] of ticks) {
      const y = bottom - ((value - low) / (high - low)) * (bottom - top);
      this.line(left, y, left + this.inner, y, ink("grid"));
      this.text(text, left - 6, y, ink("ink"), "right");
    }
    this.pen.save();
    this.pen.translate(11, (top + bottom) / 2);
    this.pen.rotate(-Math.PI / 2);
    this.text(`${what} (${unit})`, 0, 0, ink("ink"), "center");
    this.pen.restore();
  }

  frame(top, bottom) {
    this.line(left, top, left, bottom, ink("ink"));
    this.line(left, bottom, left + this.inner, bottom, ink("ink"));
  }

  // Spans of one lane: boxes where there is room, else each dot as dark as the share of it that is filled.
  lane(spans, view, top, height, colourOf, nameOf) {
    const pen = this.pen, perDot = (view.end - view.begin) / this.inner, shares = new Map();
    for (let index = Math.max(0, lastUpTo(spans.begin, view.begin)); index < spans.count; index++) {
      const begin = Math.max(spans.begin[index], view.begin), end = Math.min(spans.end[index], view.end);
      if (spans.begin[index] > view.end) break;
      if (end <= begin) continue;
      const x = (begin - view.begin) / perDot, width = (end - begin) / perDot, colour = colourOf(index);
      if (width >= 2.5) {
        pen.fillStyle = colour;
        pen.fillRect(left + x, top, width - 0.6, height);
        const name = nameOf && nameOf(index);
        if (name && pen.measureText(name).width + 6 <= width)
          this.text(name, left + x + width / 2, top + height / 2, readableOn(colour), "center");
        continue;
      }
      if (!shares.has(colour)) shares.set(colour, new Float32Array(Math.ceil(this.inner) + 2));
      for (let dot = Math.floor(x); dot < x + width; dot++)
        shares.get(colour)[dot] += Math.min(dot + 1, x + width) - Math.max(dot, x);
    }
    for (const [colour, dots] of shares) {
      pen.fillStyle = colour;
      dots.forEach((share, dot) => {
        if (!share) return;
        pen.globalAlpha = Math.min(1, 0.15 + 0.85 * share);
        pen.fillRect(left + dot, top, 1, height);
      });
      pen.globalAlpha = 1;
    }
  }
}
