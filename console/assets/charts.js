// Draws <figure class="chart" data-series="name name"> from the console's memory, and on with each
// event. `data-unit` is "s", "B" or "/s".

const figures = [...document.querySelectorAll(".chart[data-series]")];
const range = new URLSearchParams(location.search).get("range") ?? "15m";
const SPANS = { "15m": 900, "1h": 3_600, "6h": 21_600 };
const STEP_S = range === "15m" ? 1 : 10;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let rest = value;
  while (rest >= 1_024 && at < units.length - 1) {
    rest /= 1_024;
    at += 1;
  }
  return `${rest >= 100 || at === 0 ? Math.round(rest) : rest.toFixed(1)} ${units[at]}`;
}

function worded(value, unit) {
  if (value === null || value === undefined) return "unknown";
  if (unit === "B") return bytes(value);
  return `${value >= 100 ? Math.round(value) : Number(value.toFixed(2))} ${unit}`;
}

let names = [];
let data = { at: [], columns: new Map() };
const plots = new Map();

function columns(figure) {
  return figure.dataset.series.split(" ").map((name) => data.columns.get(name) ?? []);
}

function draw(figure) {
  const place = figure.querySelector(".plot");
  const unit = figure.dataset.unit;
  const labels = figure.dataset.labels.split("|");
  const colors = [css("--series-1"), css("--series-2"), css("--series-3")];
  const dashes = [[], [6, 4], [2, 3]];
  const axis = { stroke: css("--faint"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false } };
  const options = {
    width: Math.max(place.clientWidth, 200),
    height: 176,
    cursor: { y: false },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [axis, { ...axis, size: 70, values: (_, ticks) => ticks.map((tick) => worded(tick, unit)) }],
    series: [
      {},
      ...labels.map((label, at) => ({
        label,
        stroke: colors[at],
        dash: dashes[at],
        width: 2,
        value: (_, value) => worded(value, unit),
      })),
    ],
  };
  place.replaceChildren();
  plots.set(figure, new uPlot(options, [data.at, ...columns(figure)], place));
}

function drawAll() {
  figures.forEach(draw);
}

function update() {
  for (const figure of figures) plots.get(figure)?.setData([data.at, ...columns(figure)]);
}

async function load() {
  const answer = await fetch(`/api/v1/history?range=${encodeURIComponent(range)}`);
  if (!answer.ok) return;
  const history = await answer.json();
  names = Object.keys(history.series);
  data = { at: history.at, columns: new Map(Object.entries(history.series)) };
  drawAll();
}

function add(point) {
  const last = data.at.at(-1) ?? 0;
  const at = point.at - (point.at % STEP_S);
  if (at < last) return;
  const merges = at === last;
  if (!merges) data.at.push(at);
  names.forEach((name, index) => {
    const column = data.columns.get(name);
    const value = point.values[index];
    if (merges) {
      const known = column[column.length - 1];
      column[column.length - 1] = known === null ? value : value === null ? known : Math.max(known, value);
    } else {
      column.push(value);
    }
  });
  while (data.at[0] <= at - SPANS[range]) {
    data.at.shift();
    for (const column of data.columns.values()) column.shift();
  }
}

if (figures.length > 0 && SPANS[range]) {
  // Also after a pause of the stream, whose points would be missing.
  document.addEventListener("lockstep:open", load);
  document.addEventListener("lockstep:look", (event) => {
    event.detail.points.forEach(add);
    update();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(drawAll, 150);
  });
  load();
}
