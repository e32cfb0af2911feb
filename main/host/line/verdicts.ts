import type { FromCapture } from '../../capture/capture-thread.ts';
import type { FrameNotice, RingReader } from '../../capture/ring.ts';
import type { Judgement } from '../../contract/domain.ts';
import { AppError, assert, isAppError } from '../../contract/errors.ts';
import type { LineRecord } from '../../contract/line.ts';
import type { Logger } from '../../contract/log.ts';
import { unsure } from '../../inspection/decide.ts';
import { vote } from '../../inspection/vote.ts';
import { createPictureGate } from '../../inspection/picture-gate.ts';
import { monotonicMs, type Inspector } from '../../inspection/inspector.ts';
import type { PixelImage } from '../../vision/image.ts';
import { recipeOf } from '../../vision/tiles.ts';
import { diskError } from '../../store/files.ts';
import type { LineState } from './line-state.ts';
import type { Problems } from './problems.ts';
import type { FromRecords } from './records-thread.ts';
import type { LineThreads } from './threads.ts';

const recordOf = (
  frame: Pick<FrameNotice, 'seq' | 'capturedAt' | 'width' | 'height' | 'notes'>,
  judgement: Judgement,
): LineRecord => ({
  seq: frame.seq,
  at: new Date(frame.capturedAt).toISOString(),
  imageSha: null,
  width: frame.width,
  height: frame.height,
  judgement,
  notes: frame.notes,
});

/** Which frame of several stands for the part, and what the others said. */
const framesNote = (judged: readonly Judgement[], deciding: number): string =>
  `frame ${deciding + 1} of ${judged.length} decides: ${judged.map(({ verdict }) => verdict).join(', ')}`;

/** From a frame to its record: judge -> claim the slot -> write the spool -> hand over. */
export interface Verdicts {
  judge(notice: FrameNotice, model: Inspector | null): Promise<void>;
  /** A file that is no picture: a part nobody could judge, told once, without a frame. */
  rejected(message: Extract<FromCapture, { kind: 'rejected' }>, modelId: string | null): void;
  /** A trigger that no frame answered. */
  missed(message: Extract<FromCapture, { kind: 'missed' }>, modelId: string | null): void;
  /** The watchdog's verdicts, and pictures that were stored. */
  fromRecords(message: FromRecords): void;
}

export function createVerdicts(
  line: LineState,
  { ring, threads, problems, log }: { ring: RingReader; threads: LineThreads; problems: Problems; log: Logger },
): Verdicts {
  /** The spool first: nobody hears of a verdict that a crash could take back. */
  const write = (record: LineRecord) => {
    assert(line.setup, 'frames come after configure');
    const { spool } = line.setup;
    try {
      spool.append(record);
      Atomics.store(threads.dirty, 0, 1);
      problems.set('disk', null);
    } catch (error) {
      // The verdict stands and goes out; that its record is in memory only is counted and shown.
      const told = diskError(error, spool.path);
      problems.set('disk', isAppError(told) ? told : new AppError('DISK_FULL', { path: spool.path }, { cause: error }));
    }
  };
  const hear = (record: LineRecord, part: number | null) => {
    threads.lineio({ kind: 'verdict', seq: record.seq, part, judgement: record.judgement });
    line.tally.add(record.judgement);
    line.setup?.outbox.verdict(record);
    line.changed = true;
  };

  const gate = createPictureGate();
  const unfit = (image: PixelImage) => {
    assert(line.setup, 'frames come after configure');
    const { camera, line: settings } = line.setup.station;
    // Files may be alike; what a sensor sends never is.
    const frozenAfter = camera.kind === 'folder' ? null : settings.picture.frozenAfter;
    return gate.check(image, { ...settings.picture, frozenAfter });
  };

  /** One frame alone; never throws. */
  const inspect = async (image: PixelImage, notice: FrameNotice, model: Inspector | null): Promise<Judgement> => {
    const { seq, arrivedAtMs } = notice;
    const errorCode = unfit(image);
    const latencyMs = () => Math.max(0, monotonicMs() - arrivedAtMs);
    if (errorCode) return unsure('error', { modelId: model?.card.id ?? null, latencyMs: latencyMs(), errorCode });
    if (!model) return unsure('no-model', { modelId: null, latencyMs: latencyMs() });
    return model.inspect(image, {
      recipe: recipeOf(model.card, line.setup!.station.recipe),
      arrivedAtMs,
      onError: (error) => log.error('part not judged', { seq, code: error.code, error }),
    });
  };

  return {
    async judge(notice, model) {
      const { slot, seq } = notice;
      const images = Array.from({ length: notice.frames }, (_, i) => ring.pixels(notice, i));
      try {
        const judged: Judgement[] = [];
        for (const image of images) {
          if (!ring.isOpen(slot)) return;
          judged.push(await inspect(image, notice, model));
        }
        const { deciding } = vote(judged, line.setup!.station.line.frames.rule);
        const judgement = { ...judged[deciding]!, latencyMs: judged.at(-1)!.latencyMs };
        // Lost against the watchdog: the part is late, and its record is written already.
        if (!ring.claimDecided(slot)) return;
        const told =
          images.length === 1 ? notice : { ...notice, notes: [...notice.notes, framesNote(judged, deciding)] };
        const record = recordOf(told, judgement);
        write(record);
        threads.records({ kind: 'verdict', seq, ok: judgement.verdict === 'ok', frame: deciding });
        hear(record, notice.part);
      } finally {
        ring.release(slot);
      }
    },
    rejected({ seq, source, problem }, modelId) {
      const judgement = unsure('error', { modelId, latencyMs: 0, errorCode: problem.code });
      const facts = { seq, capturedAt: Date.now(), width: 0, height: 0 };
      const record = recordOf({ ...facts, notes: [source, problem.message] }, judgement);
      log.warn('file not taken', { source, code: problem.code, problem: problem.message });
      write(record);
      hear(record, null);
      line.setup?.outbox.archived(seq, null);
    },
    missed({ seq, waitedMs, part, notes }, modelId) {
      const judgement = unsure('late', { modelId, latencyMs: waitedMs, errorCode: 'CAMERA_NO_FRAME' });
      const record = recordOf({ seq, capturedAt: Date.now(), width: 0, height: 0, notes }, judgement);
      write(record);
      hear(record, part);
      line.setup?.outbox.archived(seq, null);
    },
    fromRecords(message) {
      if (message.kind === 'late') {
        const { record, written, part } = message;
        const spool = line.setup?.spool;
        // Into an older file, as the turn was under way, is as good as not: that file goes when the records before this one are acknowledged.
        if (written !== null && written === spool?.turns) spool.noteWritten(record.seq);
        else write(record);
        hear(record, part);
        return;
      }
      if (message.sha !== null) {
        problems.set('pictures', null);
        try {
          line.setup?.spool.noteImage(message.seq, message.sha);
          Atomics.store(threads.dirty, 0, 1);
        } catch (error) {
          log.warn('picture not noted', { seq: message.seq, error });
        }
      } else if (message.problem) {
        problems.set('pictures', message.problem);
      }
      line.setup?.outbox.archived(message.seq, message.sha);
    },
  };
}
