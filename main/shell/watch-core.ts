import { Notification, powerSaveBlocker } from 'electron';
import type { Alarm, LineStatus, Station } from '../contract/domain.ts';
import { AppError, isAppError, type Language } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { Events, Methods } from '../contract/methods.ts';
import { createLastingClient } from '../contract/rpc/lasting-client.ts';
import { createMemoryPair } from '../contract/rpc/memory.ts';
import type { Supervisor } from '../host/supervisor.ts';
import { createFaultNews } from './fault-news.ts';
import { alarmText, faultText, shellTexts } from './texts.ts';

export interface CoreWatch {
  readonly language: Language;
  /** Lines that run or start. */
  readonly running: number;
  /** The language may have been switched in the page. */
  refresh(): void;
}

export interface WatchOptions {
  supervisor: Supervisor;
  log: Logger;
  onLanguage(): void;
  /** Somebody pressed a notification. */
  onNotification(): void;
}

/** Alarms that are older than this when they are first seen are no news. */
const NEWS_MS = 60_000;

/**
 * The shell as a window of its own to the core, signed in as nobody: it keeps the display on while a line runs, and tells alarms and
 * faults of a line to whoever looks at another program.
 */
export function watchCore({ supervisor, log, onLanguage, onNotification }: WatchOptions): CoreWatch {
  const client = createLastingClient<Methods, Events>(
    async () => {
      if (!supervisor.coreUp) throw new AppError('DISCONNECTED', { peer: 'core' });
      const [own, other] = createMemoryPair();
      supervisor.attachWindow(other);
      return own;
    },
    { peer: 'core', reconnectedEvent: 'core.restarted' },
  );
  let language: Language = 'en';
  let stations: readonly Station[] = [];
  const running = new Set<string>();
  const isNews = createFaultNews();
  const told = new Set<number>();
  let blocker: number | null = null;

  const tell = (title: string, body: string) => {
    if (!Notification.isSupported()) return;
    const notification = new Notification({ title, body, urgency: 'critical' });
    notification.on('click', onNotification);
    notification.show();
    log.info('notified', { title, body });
  };
  const nameOf = (stationId: string) => stations.find(({ id }) => id === stationId)?.name ?? stationId;

  const keepAwake = () => {
    if (running.size > 0 && blocker === null) {
      blocker = powerSaveBlocker.start('prevent-display-sleep');
      log.info('the display stays on while a line runs');
    } else if (running.size === 0 && blocker !== null) {
      powerSaveBlocker.stop(blocker);
      blocker = null;
      log.info('no line runs: the display may sleep');
    }
  };
  const takeLine = (line: LineStatus) => {
    const { stationId, state } = line;
    if (state === 'running' || state === 'starting') running.add(stationId);
    else running.delete(stationId);
    if (isNews(line)) tell(shellTexts(language).lineFault, faultText(language, nameOf(stationId), line.problem));
    keepAwake();
  };
  const takeAlarms = (alarms: readonly Alarm[], fresh: boolean) => {
    for (const { id, stationId, measure, at } of alarms) {
      if (told.has(id)) continue;
      told.add(id);
      // The line is as it was: supervisors find it in the window.
      if (measure === 'revalidation') continue;
      if (fresh && Date.now() - Date.parse(at) < NEWS_MS)
        tell(shellTexts(language).alarm, alarmText(language, nameOf(stationId), measure));
    }
  };
  const alarmsOf = async (stationId: string, fresh: boolean) =>
    takeAlarms(await client.call('alarms.list', { stationId, openOnly: true }), fresh);

  /** The home's language: a switch in the page is told to that page alone. */
  const fetchLanguage = async () => takeLanguage((await client.call('session.state', {})).language);
  const fetchAll = async () => {
    await fetchLanguage();
    stations = await client.call('stations.list', {});
    for (const { id } of stations) {
      takeLine(await client.call('line.status', { stationId: id }));
      await alarmsOf(id, false);
    }
  };
  const takeLanguage = (next: Language) => {
    if (next === language) return;
    language = next;
    onLanguage();
  };
  const attempt = (work: () => Promise<void>) =>
    void work().catch((error: unknown) => {
      // The core is being restarted, or there is nothing to watch yet: the next event brings it all again.
      log[isAppError(error) ? 'info' : 'warn']('the shell could not look at the core', { error });
    });

  client.on('line.changed', takeLine);
  client.on('alarms.changed', ({ stationId }) =>
    attempt(async () => {
      await fetchLanguage();
      await alarmsOf(stationId, true);
    }),
  );
  client.on('stations.changed', () => attempt(fetchAll));
  client.on('core.restarted', () => attempt(fetchAll));
  attempt(fetchAll);
  return {
    get language() {
      return language;
    },
    get running() {
      return running.size;
    },
    refresh: () => attempt(fetchLanguage),
  };
}
