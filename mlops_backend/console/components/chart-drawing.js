// A chart drawn by uPlot: stacked bars, lines, or a histogram, in the theme's colours.

import { h, replace } from "../lib/element.js";

const HEIGHT = 224;

/** Draw into `place`; returns {resize, destroy}. */
export function drawn(UPlot, chart, place, width) {
  const ink = colours(place);
  const isLines = chart.kind === "lines";
  const shown = isLines ? chart.series.map((one) => one.values) : stacked(chart.series);
  const order = isLines ? chart.series.map((_, at) => at) : chart.series.map((_, at) => at).reverse();
  const options = {
    width,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: isLines }, drag: { x: false, y: false } },
    scales: { x: { time: false, range: isLines ? undefined : (_, low, high) => [low - 0.5, high + 0.5] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.05 : 1] } },
    axes: [axis(ink, labelsOf(chart)), axis(ink, { values: (_, ticks) => ticks.map((tick) => chart.axisFormat(tick)), size: 56 })],
    series: [{}, ...order.map((at) => seriesOf(UPlot, chart, at, ink))],
    hooks: { setCursor: [tip(chart, place)] },
  };
  const plot = new UPlot(options, [chart.labels.map((_, at) => at), ...order.map((at) => shown[at])], place);
  return { resize: (size) => plot.setSize({ width: size, height: HEIGHT }), destroy: () => plot.destroy() };
}

// Each series stands on those before it; the tallest is drawn first.
function stacked(series) {
  const sums = [];
  return series.map((one) =>
    one.values.map((value, at) => {
      sums[at] = (sums[at] ?? 0) + (Number(value) || 0);
      return sums[at];
    }),
  );
}

function seriesOf(UPlot, chart, at, ink) {
  const { label, colour } = chart.series[at];
  const paint = ink.series(colour);
  if (chart.kind === "lines") return { label, stroke: paint, width: 2, points: { show: chart.labels.length < 3 }, spanGaps: false };
  const size = chart.kind === "histogram" ? [0.98, 200] : [0.7, 44];
  return { label, fill: paint, stroke: paint, width: 0, points: { show: false }, paths: UPlot.paths.bars({ size, radius: chart.kind === "histogram" ? 0 : 0.1 }) };
}

function axis(ink, rest) {
  return {
    stroke: ink.text,
    font: ink.font,
    grid: { stroke: ink.line, width: 1 },
    ticks: { show: false },
    gap: 6,
    ...rest,
  };
}

function labelsOf(chart) {
  const name = (at) => (Number.isInteger(at) && at in chart.labels ? (chart.axisLabel ?? chart.labelFormat)(chart.labels[at]) : "");
  return { grid: { show: false }, space: 76, size: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500], values: (_, ticks) => ticks.map(name) };
}

function tip(chart, place) {
  const box = h("div", { class: "plot-tip", hidden: true, "aria-hidden": "true" });
  return (plot) => {
    const { idx, left } = plot.cursor;
    box.hidden = idx == null || left < 0;
    if (box.hidden) return;
    if (!box.isConnected) place.append(box);
    replace(box, h("strong", null, chart.labelFormat(chart.labels[idx])), chart.series.map((one) => line(chart, one, idx)));
    const x = plot.over.offsetLeft + left;
    const isRight = x > place.clientWidth / 2;
    box.style.insetInlineStart = isRight ? "" : `${x + 12}px`;
    box.style.insetInlineEnd = isRight ? `${place.clientWidth - x + 12}px` : "";
    box.style.insetBlockStart = "8px";
  };
}

function line(chart, { label, colour, values }, at) {
  return h("div", null, h("span", { class: "swatch", style: { background: `var(--series-${colour})` } }), label, h("b", null, chart.format(values[at])));
}

// A canvas is told colours, not names of them.
function colours(place) {
  const probe = h("span", { hidden: true });
  place.append(probe);
  const read = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const series = Array.from({ length: 8 }, (_, at) => read(`--series-${at + 1}`));
  const ink = { text: read("--muted"), line: read("--line"), font: `12px ${getComputedStyle(place).fontFamily}`, series: (at) => series[at - 1] };
  probe.remove();
  return ink;
}
