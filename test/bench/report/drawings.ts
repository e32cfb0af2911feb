import { ticksOf } from '../../../main/compression/trade-off-plot.ts';

/* Two kinds of drawing for the report. SVG without scripts, styles or anything from elsewhere; text is escaped. */

const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Told apart by colour-blind eyes too (Okabe and Ito 2008). */
const COLOURS = ['#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00'];
const HEAD = 30;

const svg = (width: number, height: number, title: string, inside: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12">` +
  `<rect width="${width}" height="${height}" fill="#fff"/><text x="10" y="19" font-weight="bold">${escapeText(title)}</text>${inside}</svg>\n`;
const round = (value: number): string => String(+value.toFixed(1));

export interface Bar {
  label: string;
  value: number;
  text: string;
  low: number | undefined;
  high: number | undefined;
}

/** Lying bars from 0, with a whisker from `low` to `high` where there are any. `line`: a value to be reached. */
export function drawBars({
  title,
  bars,
  line,
}: {
  title: string;
  bars: readonly Bar[];
  line: number | undefined;
}): string {
  const [left, right, step, width] = [130, 90, 24, 640];
  const most = Math.max(...bars.map(({ value, high }) => high ?? value), line ?? 0, Number.EPSILON);
  const x = (value: number): number => left + (Math.max(value, 0) / most) * (width - left - right);
  const height = HEAD + bars.length * step + 12;
  const drawn = bars.map(({ label, value, text, low, high }, i) => {
    const y = HEAD + i * step;
    const middle = y + step / 2;
    const whisker =
      low === undefined || high === undefined
        ? ''
        : `<path d="M${round(x(low))} ${middle}H${round(x(high))}M${round(x(low))} ${middle - 4}v8M${round(x(high))} ${middle - 4}v8" stroke="#000" fill="none"/>`;
    return (
      `<text x="${left - 8}" y="${middle + 4}" text-anchor="end">${escapeText(label)}</text>` +
      `<rect x="${left}" y="${y + 4}" width="${round(x(value) - left)}" height="${step - 8}" fill="${COLOURS[0]}"/>${whisker}` +
      `<text x="${round(x(high ?? value) + 6)}" y="${middle + 4}">${escapeText(text)}</text>`
    );
  });
  const mark =
    line === undefined
      ? ''
      : `<path d="M${round(x(line))} ${HEAD}V${height - 8}" stroke="#000" stroke-dasharray="4 3"/>`;
  return svg(width, height, title, drawn.join('') + mark);
}

export interface Point {
  label: string;
  series: string;
  x: number;
  y: number;
}

/** Points over two axes, a colour per series. */
export function drawPoints(of: { title: string; points: readonly Point[]; xLabel: string; yLabel: string }): string {
  const [left, right, bottom, width, plot] = [60, 150, 44, 720, 300];
  const series = [...new Set(of.points.map((point) => point.series))];
  const legend = HEAD + series.length * 18;
  const height = legend + plot + bottom;
  const range = (values: readonly number[]) => ({ from: Math.min(0, ...values), to: Math.max(0, ...values) || 1 });
  const [xs, ys] = [range(of.points.map(({ x }) => x)), range(of.points.map(({ y }) => y))];
  const x = (value: number): number => left + ((value - xs.from) / (xs.to - xs.from)) * (width - left - right);
  const y = (value: number): number => legend + plot - ((value - ys.from) / (ys.to - ys.from)) * (plot - 16);
  const grid = [
    ...ticksOf(xs.from, xs.to).map(
      (tick) =>
        `<path d="M${round(x(tick))} ${legend}v${plot}" stroke="#ddd"/><text x="${round(x(tick))}" y="${legend + plot + 16}" text-anchor="middle">${+tick.toFixed(6)}</text>`,
    ),
    ...ticksOf(ys.from, ys.to).map(
      (tick) =>
        `<path d="M${left} ${round(y(tick))}H${width - right}" stroke="#ddd"/><text x="${left - 6}" y="${round(y(tick) + 4)}" text-anchor="end">${+tick.toFixed(6)}</text>`,
    ),
  ];
  const keys = series.map(
    (name, i) =>
      `<circle cx="16" cy="${HEAD + i * 18 + 4}" r="5" fill="${COLOURS[i % COLOURS.length]}"/><text x="28" y="${HEAD + i * 18 + 8}">${escapeText(name)}</text>`,
  );
  const dots = of.points.map(
    (point) =>
      `<circle cx="${round(x(point.x))}" cy="${round(y(point.y))}" r="5" fill="${COLOURS[series.indexOf(point.series) % COLOURS.length]}"/>` +
      `<text x="${round(x(point.x) + 8)}" y="${round(y(point.y) + 4)}">${escapeText(point.label)}</text>`,
  );
  const axes =
    `<text x="${(left + width - right) / 2}" y="${height - 8}" text-anchor="middle">${escapeText(of.xLabel)}</text>` +
    `<text transform="translate(14 ${legend + plot / 2}) rotate(-90)" text-anchor="middle">${escapeText(of.yLabel)}</text>`;
  return svg(width, height, of.title, [...keys, ...grid, ...dots, axes].join(''));
}
