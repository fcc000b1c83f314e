// Cells of hub/geo.py, and records gathered by the cell they are released in. Degrees, (lon, lat); sizes in metres.

const ROWS_2K = 10000;
const SIDES = { 100: 1, 500: 5, 2000: 20 };

function columns(row) {
  const m = 2 * row + 1 - ROWS_2K;
  return Math.floor((80000 * (1e8 - m * m)) / (4e8 + m * m));
}

// The cell around its centre, as [[south, west], [north, east]].
export function bounds(lon, lat, gridM) {
  const side = 20 / SIDES[gridM];
  const row = Math.min(Math.floor(((lat + 90) * ROWS_2K) / 180), ROWS_2K - 1);
  const height = 180 / ROWS_2K / side;
  const width = 360 / (columns(row) * side);
  return [[lat - height / 2, lon - width / 2], [lat + height / 2, lon + width / 2]];
}

// Records by the cell they are shown in: [{lon, lat, gridM, under, records}], coarse cells first so that fine ones lie on top.
export function gather(records) {
  const cells = new Map();
  for (const [id, lon, lat, gridM, under, category, at, rounding] of records) {
    const key = `${gridM}|${lon}|${lat}`;
    let cell = cells.get(key);
    if (!cell) cells.set(key, (cell = { key, lon, lat, gridM, records: [] }));
    cell.records.push({ id, lon, lat, gridM, under, category, at, rounding, cell: key });
  }
  return [...cells.values()].sort((a, b) => b.gridM - a.gridM);
}

// Five classes that read the same in every view: a cell's colour says about how many incidents lie in it.
export const CLASSES = [
  { most: 1, fill: "#b7e0d8", words: "1" },
  { most: 9, fill: "#6fbfb1", words: "2 to 9" },
  { most: 99, fill: "#2f9388", words: "10 to 99" },
  { most: 999, fill: "#0e5f66", words: "100 to 999" },
  { most: Infinity, fill: "#0b2f48", words: "1,000 and more" },
];

export function fillOf(count) {
  return CLASSES.find((c) => count <= c.most).fill;
}
