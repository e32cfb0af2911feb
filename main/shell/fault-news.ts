import type { LineStatus } from '../contract/domain.ts';

/** A line that fails again so soon after the last time has the same trouble: a loose cable is told once, and not ten thousand times over a weekend. */
const CALM_MS = 10 * 60_000;

/** @returns whether people are to be told: of the first fault, of one after a while without, and of one after somebody stopped the line */
export function createFaultNews(nowMs = () => performance.now()) {
  /** When each line was in fault last, by station. */
  const faults = new Map<string, number>();
  return ({ stationId, state }: Pick<LineStatus, 'stationId' | 'state'>): boolean => {
    if (state === 'stopped') faults.delete(stationId);
    if (state !== 'fault') return false;
    const last = faults.get(stationId) ?? -Infinity;
    faults.set(stationId, nowMs());
    return nowMs() - last > CALM_MS;
  };
}
