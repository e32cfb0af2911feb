import type { LineStatus, Station } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { Spool } from '../../inspection/spool.ts';
import type { Outbox } from './outbox.ts';
import type { Tally } from './tally.ts';

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
  startedAt: string | null;
  tally: Tally;
  /** Frames dropped before the line was started last. */
  droppedBefore: number;
  /** Something that the status shows is another since it was told. */
  changed: boolean;
}

/** @throws CONFLICT before line.configure. */
export function setupOf({ setup }: LineState): Setup {
  if (!setup) throw new AppError('CONFLICT', { what: 'the line', state: 'not configured', needed: 'line.configure' });
  return setup;
}
