import type { z } from 'zod';
import type { LineStatus } from '../contract/domain.ts';
import { AppError, isAppError, type WireError } from '../contract/errors.ts';
import { MOST_WAITING_RECORDS, type lineMethods, type LineRecord } from '../contract/line.ts';
import type { PreviewQuestion } from '../contract/preview.ts';
import { createLane, type Lane } from '../contract/lane.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { Ingest } from './ingest.ts';
import type { PlantEventsService } from './plant-events.ts';
import { retentionOf } from './retention-settings.ts';
import type { LineClient, Session } from './port.ts';
import { stopped } from './stopped-line.ts';

/** After a failed write or a lost process, so long until the next try. */
const RETRY_MS = 2_000;
/** A core that starts waits so long for the lines that run: one whose inference hangs answers nobody, and is no reason to serve no window. */
const TAKE_UP_MS = 10_000;
/** A line that has not stopped by then does not any more: a camera may take a quarter of a minute to open, and as long to close. */
const STOP_MS = 40_000;
/** Signals put out by hand fall back after so long, whatever became of the one who put them out. */
const TEST_S = 10;
/** Records stored without a pause: some 50 ms. */
const STORED_AT_ONCE = 1_000;
/** The pause, in which all others have their turn. Nothing waits for the broker of the plant's events: without it more would be told than can wait for it. */
const PAUSE_MS = 100;

export interface Lines {
  handlers: HandlersOf<'line.status' | 'line.start' | 'line.stop' | 'line.trigger' | 'line.testOutput'>;
  /**
   * Hot swap on a running line, nothing to do on one that stands; then `record`, which makes the model the station's. Nothing else is told to the line between
   * the two: it would be of the model before. Errors of line.activate and of `record`.
   */
  activate<T>(stationId: string, bundleDir: string, record: () => T): Promise<T>;
  /** After a change of the station: a running line stops, takes it over, and starts again. */
  reconfigure(stationId: string): Promise<void>;
  /** What a camera sees while its line stands; null: the line runs. Errors of line.preview. */
  preview(stationId: string, question: PreviewQuestion): Promise<LinePreviewed>;
  endPreview(stationId: string): Promise<void>;
  /** Why lines store no pictures: those that run now, and each that starts later. null: they do. */
  refusePictures(reason: AppError | null): void;
  /** How the line of each station stands. */
  statuses(): LineStatus[];
  /** Takes up the line processes that outlived an earlier core. */
  takeUp(): Promise<void>;
  /** The line processes go on. */
  close(): void;
}

type LinePreviewed = z.output<(typeof lineMethods)['line.preview']['output']>;

interface Line {
  client: LineClient | null;
  connecting: Promise<LineClient> | null;
  status: LineStatus;
  /** The operator pressed Start and not Stop. null: it runs since an earlier core, and has not said yet which was pressed. */
  wanted: boolean | null;
  /** Not stored yet; the line's spool keeps what is beyond the most and sends it again. */
  waiting: LineRecord[];
  /** Records were dropped here and have to be sent again. */
  overflowed: boolean;
  retry: NodeJS.Timeout | null;
  /** What waits goes on being stored then. */
  pause: NodeJS.Timeout | null;
  /** The last try to connect to the line or to start it failed. */
  resumeDue: boolean;
  /** How often the line is being told, or is to be told, from where to send again: what is new may come before what is old meanwhile. */
  held: number;
  /** What it is told of its station and its model is what the store says by then: no change is followed by what was before it. */
  inTurn: Lane;
}

/** `checkActive`: throws NOT_APPROVED or BUNDLE_ALTERED; the line process checks the files for itself too. */
export const createLines = (
  context: CoreContext,
  ingest: Ingest,
  checkActive: (stationId: string, candidateId: string) => Promise<unknown>,
  plantEvents: Pick<PlantEventsService, 'line'>,
): Lines => {
  const { store, processes, log } = context;
  const lines = new Map<string, Line>();
  let closed = false;
  let refused: WireError | null = null;

  const lineOf = (stationId: string): Line => {
    const known = lines.get(stationId);
    if (known !== undefined) return known;
    store.stations.get(stationId);
    const line: Line = {
      client: null,
      connecting: null,
      status: stopped(stationId),
      wanted: false,
      waiting: [],
      overflowed: false,
      retry: null,
      pause: null,
      resumeDue: false,
      held: 0,
      inTurn: createLane(),
    };
    lines.set(stationId, line);
    return line;
  };
  const shown = (line: Line): LineStatus => ({
    ...line.status,
    lostRecords: store.stations.lostRecords(line.status.stationId),
  });
  const setStatus = (line: Line, status: LineStatus): LineStatus => {
    line.status = status;
    const now = shown(line);
    context.emit('line.changed', now);
    plantEvents.line(now);
    return now;
  };

  // ---------------------------------------------------------------- records
  /** One timer, and then all is tried again: to store what waits, and to connect to or start a line that could not be. */
  const later = (line: Line): void => {
    if (line.retry !== null || closed) return;
    line.retry = setTimeout(() => {
      line.retry = null;
      drain(line);
      if (line.resumeDue) resume(line);
    }, RETRY_MS);
    line.retry.unref();
  };
  /** The first of what waits. @returns false: they wait on, and are tried again */
  const storeWaiting = (line: Line): boolean => {
    if (line.waiting.length === 0) return true;
    const { stationId } = line.status;
    // What is new may have come before what is sent again.
    const inOrder = line.waiting.toSorted((a, b) => a.seq - b.seq);
    let acknowledged: number;
    try {
      acknowledged = ingest.store(stationId, inOrder.slice(0, STORED_AT_ONCE));
    } catch (error) {
      log.error('line records could not be stored; tried again', { stationId, waiting: line.waiting.length, error });
      later(line);
      return false;
    }
    line.waiting = inOrder.slice(STORED_AT_ONCE);
    line.client?.call('line.acknowledge', { seq: acknowledged }).catch((error: unknown) => {
      // Not acknowledged: the spool sends again, and what is stored is recognised by its number.
      log.warn('records not acknowledged', { stationId, error });
    });
    return true;
  };
  /** Stores what waits, with turns for others in between; then what was dropped is asked for again. */
  const drain = (line: Line): void => {
    if (closed || line.held > 0 || line.pause !== null || !storeWaiting(line)) return;
    if (line.waiting.length > 0) {
      line.pause = setTimeout(() => {
        line.pause = null;
        if (line.retry === null) drain(line);
      }, PAUSE_MS).unref();
      return;
    }
    if (!line.overflowed || line.client === null) return;
    void configure(line, line.client).catch((error: unknown) => {
      log.warn('line not asked to send again', { stationId: line.status.stationId, error });
      later(line);
    });
  };
  const receive = (line: Line, records: LineRecord[]): void => {
    const [first] = records;
    if (first === undefined) return;
    // From here on the numbering has a hole that the spool still holds: nothing may be stored beyond it.
    if (!line.overflowed && line.waiting.length + records.length > MOST_WAITING_RECORDS) {
      line.overflowed = true;
      line.waiting = line.waiting.filter(({ seq }) => seq < first.seq);
    }
    if (!line.overflowed) line.waiting.push(...records);
    if (line.retry === null) drain(line);
  };

  // ---------------------------------------------------------------- connection
  const configureNow = async (line: Line, client: LineClient): Promise<void> => {
    const station = store.stations.get(line.status.stationId);
    const bundleDir = station.activeModelId === null ? null : bundleDirOf(store.home, station.activeModelId);
    const { overflowed } = line;
    try {
      if (station.activeModelId !== null) await checkActive(station.id, station.activeModelId);
      const acknowledged = store.stations.acknowledged(station.id);
      const settings = {
        home: store.home,
        station,
        bundleDir,
        acknowledged,
        classCodes: store.classes.codes(),
        keepOkImages: retentionOf(store, station.id).okPictures,
      };
      // All beyond `acknowledged` is sent again now, and fills the hole.
      line.overflowed = false;
      setStatus(line, await client.call('line.configure', settings));
      await client.call('line.archive', { refused });
    } catch (error) {
      if (overflowed) {
        // What came meanwhile lies beyond the hole; the spool has it too.
        line.overflowed = true;
        line.waiting = [];
      }
      throw error;
    }
  };
  const configure = async (line: Line, client: LineClient): Promise<void> => {
    // Stored in the order of arrival, a new part before the re-sent ones would look like a hole, and they like duplicates: from the
    // moment on in which we listen, and that is before the line's turn has come and the bundle has been checked.
    line.held += 1;
    try {
      await line.inTurn(() => configureNow(line, client));
    } finally {
      line.held -= 1;
    }
    drain(line);
  };

  const connect = (line: Line): Promise<LineClient> => {
    if (line.client !== null) return Promise.resolve(line.client);
    line.connecting ??= (async () => {
      const { stationId } = line.status;
      const client = await processes.line(stationId);
      const disposers = [
        client.on('line.recorded', ({ records }) => receive(line, records)),
        client.on('line.changed', (status) => void setStatus(line, status)),
      ];
      client.onClose(() => {
        for (const dispose of disposers) dispose();
        if (line.client === client) lost(line);
      });
      line.client = client;
      try {
        await configure(line, client);
      } catch (error) {
        line.client = null;
        // What came meanwhile lies behind what was to be sent again; the spool has all of it.
        line.waiting = [];
        for (const dispose of disposers) dispose();
        client.close?.();
        throw error;
      }
      return client;
    })().finally(() => {
      line.connecting = null;
    });
    return line.connecting;
  };

  const toFault = (line: Line, error: unknown): LineStatus => {
    const known = isAppError(error) ? error : new AppError('DISCONNECTED', { peer: `line:${line.status.stationId}` });
    if (!isAppError(error)) log.error('line failed', { stationId: line.status.stationId, error });
    return setStatus(line, { ...line.status, state: 'fault', camera: 'fault', problem: known.toProblem() });
  };

  /** The process is gone. Its host restarts it; the line goes on as soon as it can. */
  const lost = (line: Line): void => {
    line.client = null;
    if (closed) return;
    const { stationId } = line.status;
    if (!line.wanted) {
      setStatus(line, { ...stopped(stationId) });
      return;
    }
    log.warn('line process lost', { stationId });
    toFault(line, new AppError('DISCONNECTED', { peer: `line:${stationId}` }));
    resume(line);
  };
  const resume = (line: Line): void => {
    line.resumeDue = false;
    if (closed || !line.wanted) return;
    connect(line)
      .then((client) => (line.wanted ? client.call('line.start', {}) : null))
      .then((status) => status && setStatus(line, status))
      .catch((error: unknown) => {
        if (line.wanted) resumeLater(line, error);
      });
  };
  const resumeLater = (line: Line, error: unknown): void => {
    toFault(line, error);
    line.resumeDue = true;
    later(line);
  };

  const takeUp = async (line: Line): Promise<void> => {
    try {
      // How it stood before it is configured tells whether it was started; one whose camera is away is in `fault`.
      const client = await processes.line(line.status.stationId);
      const before = await client.call('line.status', {}).catch(() => null);
      client.close?.();
      // Stopped before it answered: its process has ended.
      if (closed || line.wanted === false) return;
      line.wanted ??= before !== null && before.state !== 'stopped';
      await connect(line);
      if (line.wanted && line.status.state !== 'running') resume(line);
    } catch (error) {
      line.wanted ??= false;
      if (!closed) resumeLater(line, error);
    }
  };
  /** Resolves as well when the time is up: a line that does not answer is shown so, and taken up when it does. */
  const takeUpInTime = (line: Line): Promise<void> =>
    new Promise((resolve) => {
      line.wanted = null;
      const limit = setTimeout(() => {
        toFault(line, new AppError('TIMED_OUT', { what: `line:${line.status.stationId}`, seconds: TAKE_UP_MS / 1000 }));
        resolve();
      }, TAKE_UP_MS);
      void takeUp(line).finally(() => {
        clearTimeout(limit);
        resolve();
      });
    });

  /** Who let the line run or stand. A trail that cannot be written to (a full disk) keeps no line from either. */
  const noted = (action: string, stationId: string, session: Session, details: Record<string, unknown>): void => {
    try {
      store.transaction(() => store.audit.append({ user: actor(session), action, subject: stationId, details }));
    } catch (error) {
      log.error('start or stop of a line not noted', { action, stationId, user: actor(session), error });
    }
  };

  return {
    handlers: {
      'line.status': async ({ stationId }) => shown(lineOf(stationId)),
      async 'line.start'({ stationId }, session) {
        const line = lineOf(stationId);
        const { wanted } = line;
        line.wanted = true;
        try {
          const client = await connect(line);
          // Stopped while it was being connected.
          if (!line.wanted) return shown(line);
          const status = setStatus(line, await client.call('line.start', {}));
          if (!wanted) noted('line.start', stationId, session, { modelId: status.modelId });
          return status;
        } catch (error) {
          if (line.wanted) toFault(line, error);
          line.wanted = false;
          throw error;
        }
      },
      async 'line.trigger'({ stationId }) {
        const line = lineOf(stationId);
        if (line.client === null) {
          throw new AppError('CONFLICT', { what: 'the line', state: 'stopped', needed: 'a running line' });
        }
        return await line.client.call('line.trigger', {});
      },
      async 'line.testOutput'({ stationId, signals }, session) {
        const line = lineOf(stationId);
        if (line.wanted)
          throw new AppError('CONFLICT', { what: 'the line', state: line.status.state, needed: 'a stopped line' });
        const client = await connect(line);
        if (Object.keys(signals).length > 0)
          store.transaction(() =>
            store.audit.append({
              user: actor(session),
              action: 'line.testOutput',
              subject: stationId,
              details: { signals },
            }),
          );
        await client.call('line.testOutput', { signals, seconds: TEST_S });
        return {};
      },
      async 'line.stop'({ stationId }, session) {
        const line = lineOf(stationId);
        if (line.wanted !== false) noted('line.stop', stationId, session, { parts: line.status.parts });
        line.wanted = false;
        // Before it is configured a line takes no stop. How that ends is told to whoever started it.
        if (line.client !== null) await line.connecting?.catch(() => null);
        // Started again meanwhile.
        if (line.wanted) return shown(line);
        if (line.client !== null) {
          try {
            return setStatus(line, await line.client.call('line.stop', {}, { timeoutMs: STOP_MS }));
          } catch (error) {
            if (!isAppError(error, 'TIMED_OUT')) throw error;
            log.error('line does not stop, its process is ended', { stationId });
          }
        }
        // One that hangs, or that runs since an earlier core and could not be taken up, hears nothing else.
        if (line.connecting === null) await processes.stop(`line:${stationId}`);
        return line.wanted ? shown(line) : setStatus(line, { ...stopped(stationId) });
      },
    },
    activate(stationId, bundleDir, record) {
      const line = lineOf(stationId);
      return line.inTurn(async () => {
        if (line.client !== null)
          setStatus(line, await line.client.call('line.activate', { bundleDir, classCodes: store.classes.codes() }));
        return record();
      });
    },
    async reconfigure(stationId) {
      const line = lineOf(stationId);
      if (line.client === null) return;
      // The line itself reopens the camera if that is what changed, and goes on otherwise. Where it refuses, its last parts have come all the same.
      await configure(line, line.client).finally(() => drain(line));
    },
    async preview(stationId, question) {
      const line = lineOf(stationId);
      return line.wanted ? null : (await connect(line)).call('line.preview', question);
    },
    async endPreview(stationId) {
      await lineOf(stationId).client?.call('line.endPreview', {});
    },
    refusePictures(reason) {
      refused = reason?.toWire('core') ?? null;
      // Not waited for: one that hangs is no reason not to tell the others, or not to say how the home stands.
      for (const { client, status } of lines.values())
        client?.call('line.archive', { refused }).catch((error: unknown) => {
          // It hears it again when it is configured.
          log.warn('line not told about pictures', { stationId: status.stationId, error });
        });
    },
    statuses: () => store.stations.list().map(({ id }) => shown(lineOf(id))),
    async takeUp() {
      const known = new Set(store.stations.list().map(({ id }) => id));
      const running = (await processes.runningLines()).filter((id) => known.has(id));
      await Promise.all(running.map((stationId) => takeUpInTime(lineOf(stationId))));
    },
    close() {
      closed = true;
      for (const line of lines.values()) {
        if (line.retry !== null) clearTimeout(line.retry);
        const { client } = line;
        line.client = null;
        client?.close?.();
      }
    },
  };
};
