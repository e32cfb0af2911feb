import type { LineStatus, Station } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { Spool } from '../../inspection/spool.ts';
import type { Outbox } from './outbox.ts';
import type { Tally } from './tally.ts';

/** A frame without a verdict after so long is answered `unsure: late` by the watchdog: the station's deadline, else ten times the station's own limit, 500 ms at least. */
export const lateAfterMs = (station: Pick<Station, 'criteria' | 'line'>): number =>
  station.line.deadlineMs ?? Math.max(500, 10 * station.criteria.maxLatencyMsP99);

/** All that a station's camera is opened with: where that changes, it has to be opened anew. */
export const openedWith = (station: Pick<Station, 'camera' | 'line' | 'recipe' | 'criteria'>): string =>
  JSON.stringify([station.camera, station.line, station.recipe.maxPixels, lateAfterMs(station)]);

/** What the first line.configure gives a line. */
export interface Setup {
  home: string;
  station: Station;
  spool: Spool;
  outbox: Outbox;
}

/** How a line stands; the parts of the main thread share it. */
export interface LineState {
  setup: Setup | null;
  state: LineStatus['state'];
  camera: LineStatus['camera'];
  lineOutput: LineStatus['lineOutput'];
  startedAt: string | null;
  tally: Tally;
  /** Frames dropped before the line was started last. */
  droppedBefore: number;
  /** [taken, refused] before the line was started last. */
  triggersBefore: [number, number];
  /** Something that the status shows is another since it was told. */
  changed: boolean;
}

/** @throws CONFLICT before line.configure. */
export function setupOf({ setup }: LineState): Setup {
  if (!setup) throw new AppError('CONFLICT', { what: 'the line', state: 'not configured', needed: 'line.configure' });
  return setup;
}
