// Data: base64 of zlib of JSON, as pages/views.py writes it; made into columns that are quick to draw from.

async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function sums(deltas) {
  let total = 0;
  return Float64Array.from(deltas, (delta) => (total += delta));
}

function spansOf(columns) {
  const begin = sums(columns.begin);
  return { ...columns, begin, end: begin.map((time, index) => time + columns.length[index]), count: begin.length };
}

// Blocks with when they were taken and given back, and bytes in use by class after each of these.
function memoryOf(run, classNumber) {
  const moments = sums(run.moments), classes = classNumber.size, blocks = run.blocks, count = blocks.place.length;
  const taken = new Float64Array(count), given = new Float64Array(count).fill(NaN);
  const levels = new Float64Array(moments.length * classes), totals = new Float64Array(moments.length);
  const classOf = blocks.class.map((text) => classNumber.get(text)), now = new Float64Array(classes);
  let last = -1, total = 0, peak = 0;
  run.happened.forEach((what, index) => {
    const block = what ? last + 1 - what : ++last, sign = what ? -1 : 1;
    (what ? given : taken)[block] = moments[index];
    now[classOf[block]] += sign * blocks.asked[block];
    total += sign * blocks.asked[block];
    levels.set(now, index * classes);
    totals[index] = total;
    if (total > totals[peak]) peak = index;
  });
  const end = Math.max(run.end, moments.length ? moments[moments.length - 1] : 0);
  const kept = Uint8Array.from(given, (time) => (Number.isNaN(time) ? 1 : 0));
  const until = given.map((time) => (Number.isNaN(time) ? end : time));
  return { ...blocks, classOf, taken, given: until, kept, count, moments, levels, totals, peak: moments[peak] || 0 };
}

function readRun(run, classNumber) {
  const spans = Object.fromEntries(
    ["steps", "kernels", "copies", "stalls", "waits"].map((name) => [name, spansOf(run[name])]));
  const last = run.stretches[run.stretches.length - 1];
  return { ...run, ...spans, memory: memoryOf(run, classNumber), placeEnd: last ? last[0] + last[2] - last[1] : 0 };
}

function readDocument(data) {
  const names = Object.keys(data.classes), numbers = new Map(data.strings.map((text, number) => [text, number]));
  const classNumber = new Map(names.map((name, index) => [numbers.get(name), index]));
  const runs = new Map(); // read when first shown
  const run = (index) => {
    if (!runs.has(index)) runs.set(index, readRun(data.runs[index], classNumber));
    return runs.get(index);
  };
  return { ...data, classNames: names, classColours: Object.values(data.classes), run };
}

// The last of sorted numbers that is no larger; -1 where all are.
function lastUpTo(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
