/**
 * Lines over the last minutes, as SVG. Drawn anew for each set of values, at the width that there is.
 *
 * @typedef {object} Series
 * @property {string} name
 * @property {number} style 1 to 5: its colour and dashes
 * @property {readonly (number | null)[]} values oldest first, null is a gap
 *
 * @typedef {object} ChartOptions
 * @property {number} everyMs from one value to the next
 * @property {number} spanMs how long the axis is
 * @property {number} topMin the axis reaches up to this at least
 * @property {(value: number) => string} format
 * @property {boolean} [isFilled]
 * @property {string} label for those who do not see it
 */
import { show, svg } from './dom.js';

const HEIGHT = 170;
const PLOT = { left: 52, right: 8, top: 8, bottom: 22 };

/**
 * @param {HTMLElement} parent
 * @param {readonly Series[]} series
 * @param {ChartOptions} options
 */
export function drawChart(parent, series, options) {
  const width = Math.max(200, parent.clientWidth);
  show(parent, [width, series, options.label], () => [chart(width, series, options)]);
}

/**
 * @param {number} width
 * @param {readonly Series[]} series
 * @param {ChartOptions} options
 */
function chart(width, series, options) {
  const { everyMs, spanMs, topMin, format, isFilled, label } = options;
  const bottom = HEIGHT - PLOT.bottom;
  const right = width - PLOT.right;
  const highest = Math.max(
    topMin,
    ...series.flatMap(({ values }) => values.map((value) => value ?? 0)),
  );
  const top = roundTop(highest, topMin);
  const yOf = (/** @type {number} */ value) => bottom - (value / top) * (bottom - PLOT.top);
  const step = ((right - PLOT.left) * everyMs) / spanMs;
  const xOf = (/** @type {number} */ fromEnd) => right - fromEnd * step;

  const grid = [0, 0.5, 1].flatMap((part) => {
    const y = yOf(part * top);
    return [
      svg('line', { class: 'grid', x1: PLOT.left, x2: right, y1: y, y2: y }),
      svg('text', { x: PLOT.left - 6, y: y + 4, 'text-anchor': 'end' }, format(part * top)),
    ];
  });
  const minutes = spanMs / 60_000;
  const times = [0, 0.5, 1].map((part) => {
    const anchor = part === 0 ? 'start' : part === 1 ? 'end' : 'middle';
    const x = PLOT.left + part * (right - PLOT.left);
    const text = part === 1 ? 'now' : `${minutes * (1 - part)} min ago`;
    return svg('text', { x, y: HEIGHT - 4, 'text-anchor': anchor }, text);
  });
  const curves = series.flatMap(({ values, style }) =>
    runsOf(values).flatMap((run) => {
      const points = run.map(
        ({ at, value }) => `${round(xOf(values.length - 1 - at))},${round(yOf(value))}`,
      );
      const [first, last] = [points[0].split(',')[0], points[points.length - 1].split(',')[0]];
      const area =
        isFilled &&
        svg('path', {
          class: `area s${style}`,
          d: `M${first},${bottom} L${points.join(' ')} L${last},${bottom} Z`,
        });
      // A single value is a line of no length, which has a round end.
      const curve = svg('path', {
        class: `curve s${style}`,
        d: `M${points[0]} L${points.join(' ')}`,
      });
      return area ? [area, curve] : [curve];
    }),
  );
  const attributes = {
    class: 'chart',
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: 'img',
    'aria-label': label,
  };
  return svg('svg', attributes, ...grid, ...times, ...curves);
}

/**
 * Stretches without a gap.
 *
 * @param {readonly (number | null)[]} values
 */
export function runsOf(values) {
  /** @type {{ at: number, value: number }[][]} */
  const runs = [];
  values.forEach((value, at) => {
    if (value === null) return;
    const last = runs[runs.length - 1];
    if (last && last[last.length - 1].at === at - 1) last.push({ at, value });
    else runs.push([{ at, value }]);
  });
  return runs;
}

/**
 * The end of an axis: 1, 2 or 5 times a power of ten.
 *
 * @param {number} highest
 * @param {number} topMin
 */
export function roundTop(highest, topMin) {
  if (highest <= topMin) return topMin;
  const power = 10 ** Math.floor(Math.log10(highest));
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= highest) ?? 10;
  return factor * power;
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10;
}

/**
 * A piece of a line, for the legend.
 *
 * @param {number} style
 */
export function sample(style) {
  const line = svg('path', { class: `curve s${style}`, d: 'M0,4 L26,4' });
  return svg(
    'svg',
    { class: 'chart-sample chart', viewBox: '0 0 26 8', 'aria-hidden': 'true' },
    line,
  );
}
