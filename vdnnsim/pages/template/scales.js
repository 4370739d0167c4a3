// Numbers in words, and axes.

function bytesText(bytes) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["KB", 1e3]])
    if (bytes >= size) return `${(bytes / size).toFixed(bytes >= 100 * size ? 1 : 2)} ${unit}`;
  return `${bytes} B`;
}

function timeText(ns) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]])
    if (Math.abs(ns) >= size) return `${(ns / size).toFixed(3)} ${unit}`;
  return `${Math.round(ns)} ns`;
}

const timeUnits = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]];
const byteUnits = [["GB", 1e9], ["MB", 1e6], ["KB", 1e3], ["B", 1]];

// The unit of an axis that ends there, round values of it between two ends, and how to write them.
function axisOf(low, high, units, most, size = Math.abs(high)) {
  const [unit, scale] = units.find(([, of]) => size >= of * (units === timeUnits && of === 1e9 ? 10 : 1)) ||
    units[units.length - 1];
  const raw = (high - low) / scale / Math.max(1, most), power = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 5, 10].map((times) => times * power).find((times) => times >= raw);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), ticks = [];
  for (let tick = Math.ceil(low / scale / step - 1e-9) * step; tick <= (high / scale) * (1 + 1e-12); tick += step)
    ticks.push([tick * scale, tick.toFixed(decimals)]);
  return { unit, ticks };
}
