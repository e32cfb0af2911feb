import { sha256 } from '../audit/canonical.ts';
import type { LineStatus } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import type { LineRecord } from '../contract/line.ts';
import {
  keepsPassword,
  plantEventsSchema,
  type LineMessage,
  type PartMessage,
  type PlantEvents,
  type PlantEventsState,
} from '../contract/plant-events.ts';
import { createLane } from '../contract/lane.ts';
import { refuseUnreadable } from '../lineio/mqtt/certificates.ts';
import { openPublisher, type Publisher } from '../lineio/mqtt/publisher.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { SecretStore } from './port.ts';

export interface PlantEventsService {
  handlers: HandlersOf<'events.get' | 'events.set'>;
  /** Records that were stored just now. Never throws, never waits. */
  parts(stationId: string, records: readonly LineRecord[]): void;
  line(status: LineStatus): void;
  start(): Promise<void>;
  /** Tells these from now on, and once a minute, also lines that stand. */
  watch(lines: () => readonly LineStatus[]): void;
  close(): Promise<void>;
}

const SETTING = 'plantEvents';
export const PLANT_PASSWORD = 'mqtt-password';
const OFF: PlantEventsState = { connection: 'off', sent: 0, waiting: 0, dropped: 0, problem: null };
/** Counters alone are told so often, and that a line still stands: whoever listens takes it as a sign of life. */
const EVERY_MS = 60_000;
/** So often it is looked whether one is due. */
const LOOK_MS = 5_000;

/** Events for the plant's other systems: off until somebody names a broker, and always off in a demo. */
export const createPlantEvents = (context: CoreContext, secrets: SecretStore): PlantEventsService => {
  const { store, log, now } = context;
  let publisher: Publisher | null = null;
  let failure: string | null = null;
  let lines: () => readonly LineStatus[] = () => [];
  let look: NodeJS.Timeout | null = null;
  /** What was told of each line last. */
  const told = new Map<string, { key: string; at: number }>();

  /** Opening, changing and closing: of two that open at once one would be left open for ever. */
  const inTurn = createLane();

  const config = (): PlantEvents =>
    store.demo ? { kind: 'none' } : plantEventsSchema.catch({ kind: 'none' }).parse(store.settings.get(SETTING));

  const open = async (): Promise<void> => {
    const before = publisher;
    publisher = null;
    failure = null;
    told.clear();
    await before?.dispose();
    const wanted = config();
    if (wanted.kind === 'none') return;
    try {
      const kept = wanted.user === '' ? null : await secrets.get(PLANT_PASSWORD);
      publisher = await openPublisher(wanted, {
        // One per installation, and nothing of the key in it.
        clientId: `mekiki-${sha256(context.keys.installation).slice(0, 12)}`,
        password: kept === null ? null : Buffer.from(kept).toString('utf8'),
        log,
      });
    } catch (error) {
      failure = problemOf(error);
      log.error('events cannot be sent', { error });
    }
  };
  const tellLine = (status: LineStatus): void => {
    if (publisher === null) return;
    const { stationId, state, modelId, problem, parts, ok, ng, unsure, late, droppedFrames } = status;
    const key = JSON.stringify([state, modelId, problem?.code ?? null]);
    const last = told.get(stationId);
    const at = now();
    // Either way: a clock that was set back is no reason to fall silent until it is as late again.
    if (last?.key === key && Math.abs(at.getTime() - last.at) < EVERY_MS) return;
    told.set(stationId, { key, at: at.getTime() });
    try {
      const message: LineMessage = {
        schema: 'mekiki/line/1',
        station: stationOf(stationId),
        at: at.toISOString(),
        state,
        problem: problem && { code: problem.code, message: problem.message, nextAction: problem.nextAction },
        modelId,
        parts,
        ok,
        ng,
        unsure,
        late,
        droppedFrames,
      };
      publisher.publish(`${stationId}/line`, message, { retain: true, key: stationId });
    } catch (error) {
      log.error('line not told', { stationId, error });
    }
  };
  const tellLines = (): void => {
    if (publisher !== null) lines().forEach(tellLine);
  };
  const hasPassword = () => store.settings.get(`${SETTING}.password`) === true;
  const stationOf = (id: string) => ({ id, name: store.stations.get(id).name });
  const view = () => ({
    config: config(),
    hasPassword: hasPassword(),
    state: publisher?.state() ?? { ...OFF, problem: failure },
  });

  /** The password lies outside the database: where the work fails, the one before is put back, for the broker before must not be told the new one. */
  const withPassword = async (password: string | undefined, work: () => void): Promise<void> => {
    if (password === undefined) return work();
    // One that cannot be read can be replaced all the same.
    const before = await secrets.get(PLANT_PASSWORD).catch(() => null);
    await secrets.set(PLANT_PASSWORD, Buffer.from(password, 'utf8'));
    try {
      work();
    } catch (error) {
      await secrets
        .set(PLANT_PASSWORD, before ?? new Uint8Array())
        .catch((cause: unknown) => log.error('the password of before is not put back', { error: cause }));
      throw error;
    }
  };

  const change = async (wanted: PlantEvents, password: string | undefined, by: string): Promise<void> => {
    const before = config();
    if (password === undefined && hasPassword() && !keepsPassword(before, wanted))
      throw new AppError('INVALID_INPUT', {
        what: 'password',
        problem: 'what is kept was given for another broker, account or certificate; give it again',
      });
    await withPassword(password, () =>
      store.transaction(() => {
        store.settings.set(SETTING, wanted);
        if (password !== undefined) store.settings.set(`${SETTING}.password`, password !== '');
        store.audit.append({
          user: by,
          action: 'events.set',
          subject: wanted.kind,
          details: { before, config: wanted, passwordChanged: password !== undefined },
        });
      }),
    );
    await open();
    tellLines();
  };

  return {
    handlers: {
      'events.get': async () => view(),
      async 'events.set'({ config: wanted, password }, session) {
        if (store.demo && wanted.kind !== 'none') throw new AppError('DEMO_FORBIDS', { what: 'events out' });
        if (wanted.kind === 'mqtt' && wanted.tls !== null) refuseUnreadable(wanted.tls.ca);
        await inTurn(() => change(wanted, password, actor(session)));
        return view();
      },
    },
    parts(stationId, records) {
      if (publisher === null) return;
      try {
        const station = stationOf(stationId);
        const names = new Map(store.classes.list().map((known) => [known.id, known.names.en]));
        for (const { seq, at, imageSha, judgement: judged, notes } of records) {
          const message: PartMessage = {
            schema: 'mekiki/part/1',
            station,
            seq,
            at,
            verdict: judged.verdict,
            reason: judged.unsureReason,
            classId: judged.classId,
            className: judged.classId === null ? null : (names.get(judged.classId) ?? null),
            confidence: judged.confidence,
            novelty: judged.novelty,
            modelId: judged.modelId,
            latencyMs: judged.latencyMs,
            errorCode: judged.errorCode,
            lot: notes.find((note) => note.startsWith('lot '))?.slice(4) ?? null,
            imageSha256: imageSha,
          };
          publisher.publish(`${stationId}/part`, message);
        }
      } catch (error) {
        log.error('parts not told', { stationId, error });
      }
    },
    line: tellLine,
    start: () => inTurn(open),
    watch(statuses) {
      lines = statuses;
      tellLines();
      look = setInterval(tellLines, LOOK_MS).unref();
    },
    async close() {
      if (look !== null) clearInterval(look);
      await inTurn(async () => {
        await publisher?.dispose();
        publisher = null;
      });
    },
  };
};
