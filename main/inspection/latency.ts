/** Latencies of the last parts and of the last ten minutes. Memory is fixed. */
export interface LatencyStats {
  add(ms: number): void;
  /** Of the last WINDOW parts; 0 before the first. */
  p50(): number;
  p99(): number;
  /** [p50, p99] per 10 s of the last ten minutes, oldest first; spans without a part are left out. */
  trend(): [number, number][];
}

const WINDOW = 1024;
const SPAN_MS = 10_000;
const SPANS = 60;

/** Nearest-rank quantile of `values`, which is sorted in place; 0 for none. */
export function quantile(values: Float64Array, share: number): number {
  if (values.length === 0) return 0;
  values.sort();
  return values[Math.min(values.length - 1, Math.max(0, Math.ceil(share * values.length) - 1))]!;
}

/** Keeps the newest WINDOW values. */
function createWindow() {
  const ring = new Float64Array(WINDOW);
  let count = 0;
  return {
    add(ms: number) {
      ring[count % WINDOW] = ms;
      count += 1;
    },
    quantiles(): [number, number] {
      const values = ring.slice(0, Math.min(count, WINDOW));
      return [quantile(values, 0.5), quantile(values, 0.99)];
    },
    clear() {
      count = 0;
    },
    empty: () => count === 0,
  };
}

/** @param now milliseconds that only go forward. */
export function createLatencyStats(now: () => number): LatencyStats {
  const recent = createWindow();
  const span = createWindow();
  const closed: { at: number; values: [number, number] }[] = [];
  let spanNumber = Math.floor(now() / SPAN_MS);
  const turn = () => {
    const current = Math.floor(now() / SPAN_MS);
    if (current !== spanNumber) {
      if (!span.empty()) closed.push({ at: spanNumber, values: span.quantiles() });
      span.clear();
      spanNumber = current;
    }
    while (closed.length > 0 && closed[0]!.at <= current - SPANS) closed.shift();
  };
  return {
    add(ms) {
      turn();
      recent.add(ms);
      span.add(ms);
    },
    p50: () => recent.quantiles()[0],
    p99: () => recent.quantiles()[1],
    trend() {
      turn();
      return closed.map(({ values }) => values);
    },
  };
}
