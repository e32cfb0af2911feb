import type { TradeOffPoint } from './trade-off.ts';

/* The trade-off curves as one SVG: a row of two panels per data set, the drop of balanced accuracy over what is left of the arithmetic, and over the speed-up. */

const PANEL = { width: 380, height: 230, left: 56, right: 14, top: 34, bottom: 42 };
const LEGEND = 34;
/** Colours that are told apart by colour-blind eyes too (Okabe and Ito 2008); shapes say the precision. */
const COLOURS: Record<TradeOffPoint['strategy'], string> = {
  none: '#000000',
  'pre-prune': '#E69F00',
  'post-prune': '#0072B2',
  distill: '#009E73',
};
const NAMES: Record<TradeOffPoint['strategy'], string> = {
  none: 'input size alone',
  'pre-prune': 'pre-pruned',
  'post-prune': 'post-pruned',
  distill: 'distilled',
};

const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Grouped cross-validation where there is one: it moves less by chance than the test folder alone. */
const dropOf = ({ grouped, testDropPp }: TradeOffPoint): number => grouped?.dropPp ?? testDropPp;

/** Round steps, at most `most` of them, that cover a range. */
export function ticksOf(from: number, to: number, most = 6): number[] {
  const raw = Math.max(to - from, 1e-9) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * (1 - 1e-9))!;
  const ticks: number[] = [];
  for (let t = Math.ceil(from / step - 1e-9) + 0; t * step <= to + 1e-9 * step; t++) ticks.push(t * step);
  return ticks;
}

interface Axis {
  label: string;
  of: (point: TradeOffPoint) => number;
  text: (value: number) => string;
}

const AXES: readonly Axis[] = [
  { label: 'multiply-accumulates left, %', of: ({ macsShare }) => 100 * macsShare, text: (v) => `${Math.round(v)}` },
  { label: 'times as fast, measured', of: ({ speedup }) => speedup, text: (v) => `${+v.toFixed(1)}` },
];

/** @returns an SVG document; text is escaped, nothing is loaded from elsewhere */
export function plotTradeOff(points: readonly TradeOffPoint[], title: string): string {
  const sets = [...new Set(points.map(({ set }) => set))];
  const width = 2 * PANEL.width;
  const height = LEGEND + sets.length * PANEL.height;
  const rows = sets.map((set, row) => {
    const own = points.filter((point) => point.set === set);
    return AXES.map((axis, column) => panel(own, axis, set, column * PANEL.width, LEGEND + row * PANEL.height)).join(
      '',
    );
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="11">`,
    `<title>${escapeText(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    legend(points),
    ...rows,
    '</svg>\n',
  ].join('\n');
}

function legend(points: readonly TradeOffPoint[]): string {
  const present = [...new Set(points.map(({ strategy }) => strategy))];
  const parts = present.map((strategy, i) => {
    const x = PANEL.left + i * 120;
    return `<line x1="${x}" x2="${x + 18}" y1="16" y2="16" stroke="${COLOURS[strategy]}" stroke-width="2"/><text x="${x + 23}" y="20">${NAMES[strategy]}</text>`;
  });
  const x = PANEL.left + present.length * 120;
  parts.push(`<circle cx="${x}" cy="16" r="4" fill="none" stroke="#000"/><text x="${x + 9}" y="20">float</text>`);
  parts.push(`<rect x="${x + 46}" y="12" width="8" height="8"/><text x="${x + 59}" y="20">INT8</text>`);
  return parts.join('');
}

function panel(points: readonly TradeOffPoint[], axis: Axis, set: string, left: number, top: number): string {
  const xs = points.map(axis.of);
  const ys = points.map(dropOf);
  const [x0, x1] = padded(Math.min(...xs), Math.max(...xs));
  const [y0, y1] = padded(Math.min(0, ...ys), Math.max(1, ...ys));
  const plotWidth = PANEL.width - PANEL.left - PANEL.right;
  const plotHeight = PANEL.height - PANEL.top - PANEL.bottom;
  const px = (x: number) => (left + PANEL.left + ((x - x0) / (x1 - x0)) * plotWidth).toFixed(1);
  // No loss is at the top: better is higher.
  const py = (y: number) => (top + PANEL.top + ((y - y0) / (y1 - y0)) * plotHeight).toFixed(1);
  const bottom = top + PANEL.height - PANEL.bottom;
  const out = [
    `<text x="${left + PANEL.left}" y="${top + 20}" font-weight="bold">${escapeText(set)}</text>`,
    `<text x="${left + PANEL.left + plotWidth / 2}" y="${bottom + 32}" text-anchor="middle">${axis.label}</text>`,
    `<text transform="translate(${left + 14} ${top + PANEL.top + plotHeight / 2}) rotate(-90)" text-anchor="middle">balanced accuracy lost, points</text>`,
  ];
  for (const t of ticksOf(x0, x1))
    out.push(
      `<line x1="${px(t)}" x2="${px(t)}" y1="${py(y0)}" y2="${bottom}" stroke="#ddd"/><text x="${px(t)}" y="${bottom + 15}" text-anchor="middle">${axis.text(t)}</text>`,
    );
  for (const t of ticksOf(y0, y1))
    out.push(
      `<line x1="${px(x0)}" x2="${px(x1)}" y1="${py(t)}" y2="${py(t)}" stroke="${Math.abs(t) < 1e-9 ? '#888' : '#ddd'}"/><text x="${left + PANEL.left - 6}" y="${Number(py(t)) + 4}" text-anchor="end">${+t.toFixed(1)}</text>`,
    );
  const series = Map.groupBy(points, ({ strategy, precision }) => `${strategy} ${precision}`);
  for (const list of series.values()) {
    const { strategy, precision } = list[0]!;
    const sorted = list.toSorted((a, b) => axis.of(a) - axis.of(b));
    const colour = COLOURS[strategy];
    out.push(
      `<polyline fill="none" stroke="${colour}" stroke-width="1.5"${precision === 'int8' ? ' stroke-dasharray="4 3"' : ''} points="${sorted.map((p) => `${px(axis.of(p))},${py(dropOf(p))}`).join(' ')}"/>`,
    );
    for (const point of sorted) {
      const [x, y] = [Number(px(axis.of(point))), Number(py(dropOf(point)))];
      const shape =
        precision === 'int8'
          ? `<rect x="${x - 4}" y="${y - 4}" width="8" height="8" fill="${colour}">`
          : `<circle cx="${x}" cy="${y}" r="4" fill="#fff" stroke="${colour}" stroke-width="1.5">`;
      out.push(
        `${shape}<title>${escapeText(`${point.id}: ${dropOf(point).toFixed(2)} points, ${point.speedup.toFixed(2)} times as fast`)}</title></${precision === 'int8' ? 'rect' : 'circle'}>`,
      );
    }
  }
  return out.join('\n');
}

const padded = (from: number, to: number): [number, number] => {
  const room = Math.max(0.05 * (to - from), 0.1);
  return [from - room, to + room];
};
