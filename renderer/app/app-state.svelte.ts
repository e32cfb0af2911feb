import { createContext } from 'svelte';
import type {
  Alarm,
  Candidate,
  DefectClass,
  Job,
  Knowledge,
  LineStatus,
  PlannedActivation,
  Station,
} from '../../main/contract/domain.ts';
import { roleSchema, roleSets, type Role } from '../../main/contract/domain/people.ts';
import { AppError, isAppError, type ErrorCode, errorCatalogue } from '../../main/contract/errors.ts';
import type { MethodOutput } from '../../main/contract/methods.ts';
import { USUAL_SHIFTS, type ShiftStarts } from '../../main/contract/shifts.ts';
import type { ConnectionState } from '../../main/contract/rpc/lasting-client.ts';
import type { CoreClient } from '../lib/connection.ts';
import { watchOpenedBundles } from '../lib/desktop.ts';
import { language, problemText, t } from '../lib/i18n/language.svelte.ts';
import { areaOfHash, type Area } from './areas.ts';
import { isFailure, keptNotices, type Notice } from './notices.ts';

export type SessionState = MethodOutput<'session.state'>;
export type Theme = 'dark' | 'light';

/** Far below the shortest time-out (main/core/idle.ts). */
const ACTIVE_EVERY_MS = 30_000;
const NOTICE_MS = 5000;
/** A call that has no answer after this time is told on the screen. */
const SLOW_MS = 3000;
/** Events come faster than lists can be fetched: one fetch per kind and this time. */
const REFETCH_MS = 150;

export const everyone: readonly Role[] = roleSchema.options;
export const {
  workers,
  technicians,
  supervisors,
  configurers,
  auditors,
}: Record<keyof typeof roleSets, readonly Role[]> = roleSets;

/** What all screens share: connection, session, station, classes, jobs, candidates; and where the user is. */
export class AppState {
  readonly client: CoreClient;
  readonly #version: string;
  connection = $state<ConnectionState>('connecting');
  session = $state.raw<SessionState | null>(null);
  stations = $state.raw<Station[]>([]);
  stationId = $state<string | null>(null);
  /** As it was last told, also by a core that is not there any more. */
  line = $state.raw<LineStatus | null>(null);
  /** Station whose USB camera this window looks at while it is set up; null: none. */
  previewedId = $state<string | null>(null);
  jobs = $state.raw<Job[]>([]);
  classes = $state.raw<DefectClass[]>([]);
  candidates = $state.raw<Candidate[]>([]);
  /** Oldest first, in the order in which it was learnt: a clock may be set back in between. */
  knowledge = $state.raw<Knowledge[]>([]);
  /** A model that is to become active at a time. */
  planned = $state.raw<PlannedActivation | null>(null);
  /** The model that a roll back brings back. */
  previousModelId = $state<string | null>(null);
  queueTotal = $state(0);
  /** Room on the disk, clock, last backup. */
  home = $state.raw<MethodOutput<'home.state'> | null>(null);
  /** Hours at which shifts begin. */
  shifts = $state.raw<ShiftStarts>(USUAL_SHIFTS);
  /** Newest first, acknowledged ones too. */
  alarms = $state.raw<Alarm[]>([]);
  area = $state<Area>('live');
  theme = $state<Theme>('dark');
  notices = $state.raw<Notice[]>([]);
  /** Failures before those in `notices`, which were too many to be kept; 0 again once all are dismissed. */
  failuresGone = $state(0);
  /** The first fetch is done: what is empty now is empty, not unknown. */
  ready = $state(false);
  /** Roles for which the sign-in dialog was opened; null: closed. */
  signInFor = $state.raw<readonly Role[] | null>(null);
  /** A bundle file that somebody wants to look at and perhaps import; null: none. */
  openedBundle = $state<string | null>(null);
  /** Picked under Models; null: the active one is shown. */
  modelId = $state<string | null>(null);
  /** The database is damaged: nothing but its repair can be done. */
  damage = $state.raw<MethodOutput<'home.damage'>>(null);
  /** Goes up after a re-connection: screens that hold their own data fetch it again. */
  generation = $state(0);

  /** Goes up when somebody has changed settings that are no station's: forms that hold them fetch them again. */
  settingsTold = $state(0);

  /** Over the connection that is open now. */
  #lineTold = $state(false);
  /** Null: nobody knows, while the connection is lost or the answer is on its way. */
  lineNow = $derived(this.#lineTold ? this.line : null);
  station = $derived(this.stations.find(({ id }) => id === this.stationId) ?? null);
  classById = $derived(new Map(this.classes.map((defectClass) => [defectClass.id, defectClass])));
  active = $derived(this.candidates.find(({ state }) => state === 'active') ?? null);
  #unacknowledged = $derived(this.alarms.filter(({ acknowledged }) => acknowledged === null));
  openAlarms = $derived(this.#unacknowledged.filter(({ measure }) => measure !== 'revalidation'));
  /** The active model is to be looked at again: nobody acknowledges that away. */
  reminder = $derived(this.#unacknowledged.find(({ measure }) => measure === 'revalidation') ?? null);
  submitted = $derived(this.candidates.filter(({ state }) => state === 'submitted'));
  runningJobs = $derived(this.jobs.filter(({ state }) => state === 'running' || state === 'waiting'));
  user = $derived(this.session?.user ?? null);
  /** Calls that take longer than a user may wait without a word. */
  slowCalls = $state(0);
  /** The last failure for want of room on the disk, until somebody has made some. */
  diskFull = $state.raw<unknown>(null);
  /** Versions of window and core, where they differ: what the one sends the other may not understand. */
  mismatch = $derived.by(() => {
    const core = this.session?.version;
    return core === undefined || core === this.#version ? null : { window: this.#version, core };
  });

  readonly #storage: Storage;
  /** Where the station is kept: of this tab, beside which another one may show another station, and of the next start. */
  readonly #places: readonly Storage[];
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #nextNotice = 1;
  #toldActiveAt = -Infinity;
  #signingOut = false;
  /** What the core's clock is ahead of this browser's, which may be on another PC. */
  #aheadMs = 0;

  constructor(client: CoreClient, storage: Storage, version: string) {
    this.client = client;
    this.#version = version;
    this.#storage = storage;
    this.#places = [sessionStorage, storage];
    // A page that is loaded again, after a crash with nobody there, shows the line that it showed before; one that is gone by now is no choice.
    this.stationId = this.#places.map((place) => place.getItem('station')).find((id) => id !== null) ?? null;
    this.connection = client.state;
    this.setTheme(storage.getItem('theme') === 'light' ? 'light' : 'dark');
    language.now = navigator.language.startsWith('ja') ? 'ja' : 'en';
  }

  /** Subscribes and fetches; the window lives as long as the page, so nothing is disposed. */
  open(): void {
    const { client } = this;
    this.area = areaOfHash(location.hash);
    window.addEventListener('hashchange', () => (this.area = areaOfHash(location.hash)));
    watchOpenedBundles((file) => (this.openedBundle = file));
    client.onState((state) => {
      this.connection = state;
      if (state !== 'open') this.#lineTold = false;
      if (state === 'open' && !this.ready) void this.refetch();
    });
    client.on('core.restarted', () => void this.refetch(true));
    client.on('session.changed', (session) => {
      if (this.user !== null && session.user === null && !this.#signingOut) this.tell(t('signIn.ended'));
      this.#setSession(session);
    });
    for (const sign of ['pointerdown', 'keydown', 'wheel'])
      window.addEventListener(sign, () => this.#tellActive(), { capture: true, passive: true });
    client.on('line.changed', (line) => this.takeLine(line));
    client.on('jobs.progressed', (job) => this.#takeJob(job));
    client.on('queue.changed', ({ stationId, total }) => {
      if (stationId === this.stationId) this.queueTotal = total;
    });
    client.on('alarms.changed', ({ stationId }) => {
      if (stationId === this.stationId) this.#soon('alarms', () => this.fetchAlarms());
    });
    client.on('classes.changed', () => this.#soon('classes', () => this.fetchClasses()));
    client.on('home.changed', (home) => (this.home = home));
    client.on('stations.changed', () => this.#soon('stations', () => this.fetchStations()));
    client.on('settings.changed', () => {
      this.settingsTold += 1;
      this.#soon('shifts', () => this.fetchShifts());
    });
    client.on('candidates.changed', () => {
      this.#soon('candidates', () => this.fetchCandidates());
      this.#soon('stations', () => this.fetchStations());
    });
    if (client.state === 'open') void this.refetch();
  }

  /** @param again after a re-connection: screens fetch too what they hold, once it is known whether somebody is still signed in who may see it. */
  async refetch(again = false): Promise<void> {
    await this.run(async () => {
      const session = this.client.call('session.state', {});
      // A damaged home has none.
      session.catch(() => {});
      this.damage = await this.client.call('home.damage', {});
      if (this.damage !== null) return;
      const before = this.user;
      this.#setSession(await session);
      if (before !== null && this.user === null) this.tell(t('signIn.lost'));
      if (again) this.generation += 1;
      // There is nothing in a new home that its first page would have to wait for.
      if (this.session?.firstStart) this.ready = true;
      this.#toldActiveAt = -Infinity;
      this.#tellActive();
      await Promise.all([
        this.fetchStations(),
        this.fetchClasses(),
        this.fetchJobs(),
        this.fetchHome(),
        this.fetchShifts(),
      ]);
      this.ready = true;
    });
  }

  async fetchStations(): Promise<void> {
    this.stations = await this.client.call('stations.list', {});
    const kept = this.stations.some(({ id }) => id === this.stationId);
    const wanted = kept ? this.stationId : (this.stations[0]?.id ?? null);
    await this.chooseStation(wanted);
  }

  async chooseStation(stationId: string | null): Promise<void> {
    if (this.stationId !== stationId) {
      this.stationId = stationId;
      if (stationId !== null) for (const place of this.#places) place.setItem('station', stationId);
      this.line = null;
      this.candidates = [];
      this.knowledge = [];
      this.planned = null;
      this.previousModelId = null;
      this.queueTotal = 0;
      this.alarms = [];
    }
    // Each is taken as it comes: one that waited for the slowest would put back what was told meanwhile.
    await Promise.all([this.fetchLine(), this.fetchQueue(), this.fetchCandidates(), this.fetchAlarms()]);
  }

  async fetchLine(): Promise<void> {
    const { stationId } = this;
    if (stationId !== null) this.takeLine(await this.client.call('line.status', { stationId }));
  }

  /** A line's news, nothing for another station's. */
  takeLine(line: LineStatus): void {
    if (line.stationId !== this.stationId) return;
    this.line = line;
    this.#lineTold = true;
  }

  async fetchQueue(): Promise<void> {
    const { stationId } = this;
    if (stationId === null) return;
    const { total } = await this.client.call('queue.count', { stationId });
    if (this.stationId === stationId) this.queueTotal = total;
  }

  async fetchCandidates(): Promise<void> {
    const { stationId } = this;
    if (stationId === null) return;
    const [candidates, knowledge, planned, previousModelId] = await Promise.all([
      this.client.call('candidates.list', { stationId }),
      this.client.call('knowledge.list', { stationId }),
      this.client.call('models.planned', { stationId }),
      this.client.call('models.previous', { stationId }),
    ]);
    if (this.stationId !== stationId) return;
    this.candidates = candidates;
    this.planned = planned;
    this.previousModelId = previousModelId;
    this.knowledge = knowledge.toReversed();
  }

  async fetchAlarms(): Promise<void> {
    const { stationId } = this;
    if (stationId === null) return;
    const alarms = await this.client.call('alarms.list', { stationId });
    if (this.stationId === stationId) this.alarms = alarms;
  }

  async fetchClasses(): Promise<void> {
    this.classes = await this.client.call('classes.list', {});
  }

  async fetchHome(): Promise<void> {
    this.home = await this.client.call('home.state', {});
  }

  async fetchShifts(): Promise<void> {
    this.shifts = (await this.client.call('reports.shifts', {})).starts;
  }

  async fetchJobs(): Promise<void> {
    this.jobs = await this.client.call('jobs.list', {});
  }

  /** A job's news: kept, and what it made is fetched when it ends. */
  #takeJob(job: Job): void {
    const before = this.jobs.find(({ id }) => id === job.id);
    this.jobs = before ? this.jobs.map((other) => (other.id === job.id ? job : other)) : [job, ...this.jobs];
    if (before?.state === job.state) return;
    if (job.state === 'failed') {
      const error = errorOfProblem(job.problem);
      if (isAppError(error, 'DISK_FULL')) this.diskFull = error;
      this.notify(error);
    }
    if (job.state === 'done') {
      this.#soon('candidates', () => this.fetchCandidates());
      if (job.kind === 'demo') this.#soon('all', () => this.refetch());
    }
  }

  /** A job as it was queued: where its events, which come before this answer, have told of it, they say more. */
  takeStarted(job: Job): void {
    if (!this.jobs.some(({ id }) => id === job.id)) this.#takeJob(job);
  }

  /** Starts a job for whoever has one of the roles; anybody else is asked to sign in. */
  async startJob(roles: readonly Role[], start: () => Promise<Job>): Promise<void> {
    if (this.allowed(roles)) await this.run(async () => this.takeStarted(await start()));
  }

  /** The job of a kind that runs or waits for this station. */
  jobOf(kind: Job['kind']): Job | null {
    return (
      this.runningJobs.find((job) => job.kind === kind && (job.stationId ?? this.stationId) === this.stationId) ?? null
    );
  }

  /** The one that somebody paused. */
  pausedJobOf(kind: Job['kind']): Job | null {
    return (
      this.jobs.find((job) => job.kind === kind && job.state === 'paused' && job.stationId === this.stationId) ?? null
    );
  }

  /** What becomes of it is told by its events. */
  async changeJob(job: Job, verb: 'cancel' | 'pause' | 'resume' | 'finish'): Promise<void> {
    await this.run(() => this.client.call(`jobs.${verb}`, { jobId: job.id }));
  }

  // ------------------------------------------------------------- session
  /** Somebody is here: the core signs out a window that nobody touches. */
  #tellActive(): void {
    const now = performance.now();
    if (now - this.#toldActiveAt < ACTIVE_EVERY_MS || this.connection !== 'open') return;
    this.#toldActiveAt = now;
    // A connection that is lost is told by the banner; the next touch tells again.
    this.client.call('session.active', {}).catch(() => (this.#toldActiveAt = -Infinity));
  }

  #setSession(session: SessionState): void {
    this.session = session;
    this.#aheadMs = Date.parse(session.now) - Date.now();
    language.now = session.language;
    if (session.user && this.signInFor?.includes(session.user.role)) this.signInFor = null;
  }

  /** By the core's clock: what its times compare with. */
  now(): Date {
    return new Date(Date.now() + this.#aheadMs);
  }

  takeSession(session: SessionState): void {
    this.#setSession(session);
    void this.run(() => this.fetchStations());
  }

  async signOut(): Promise<void> {
    this.#signingOut = true;
    await this.run(async () => this.#setSession(await this.client.call('session.signOut', {})));
    this.#signingOut = false;
  }

  async setLanguage(next: 'en' | 'ja'): Promise<void> {
    language.now = next;
    if (this.session === null) return;
    await this.run(async () => this.#setSession(await this.client.call('session.setLanguage', { language: next })));
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    document.documentElement.dataset['theme'] = theme;
    this.#storage.setItem('theme', theme);
  }

  /** True when the user has one of the roles; else the sign-in dialog opens. */
  allowed(roles: readonly Role[]): boolean {
    if (this.has(roles)) return true;
    this.signInFor = roles;
    return false;
  }

  has(roles: readonly Role[]): boolean {
    return this.user !== null && roles.includes(this.user.role);
  }

  go(area: Area): void {
    location.hash = `#/${area}`;
  }

  // ------------------------------------------------------------- names
  className(classId: string | null): string {
    if (classId === null) return '–';
    const names = this.classById.get(classId)?.names;
    if (!names) return classId;
    return (language.now === 'ja' ? names.ja || names.en : names.en || names.ja) || classId;
  }

  // ------------------------------------------------------------- failures
  /** Runs a piece of work; a failure becomes a notice with its next action. Undefined after a failure. */
  async run<T>(work: () => Promise<T>): Promise<T | undefined> {
    let slow = false;
    const timer = setTimeout(() => {
      slow = true;
      this.slowCalls += 1;
    }, SLOW_MS);
    try {
      return await work();
    } catch (error) {
      if (isAppError(error, 'DISK_FULL')) this.diskFull = error;
      if (isAppError(error, 'NOT_ALLOWED') && this.user === null) this.signInFor = technicians;
      // Cancelled by this side: nothing to tell. While the connection is lost the banner tells it.
      if (isAppError(error, 'CANCELLED') || (isAppError(error, 'DISCONNECTED') && this.connection !== 'open'))
        return undefined;
      this.notify(error);
      return undefined;
    } finally {
      clearTimeout(timer);
      if (slow) this.slowCalls -= 1;
    }
  }

  notify(error: unknown): void {
    const { message } = problemText(error);
    const same = this.notices.find((notice) => notice.error !== null && problemText(notice.error).message === message);
    if (!same) this.#push({ error, text: '' });
  }

  tell(text: string): void {
    const id = this.#push({ error: null, text });
    setTimeout(() => this.dismiss(id), NOTICE_MS);
  }

  dismiss(id: number): void {
    this.notices = this.notices.filter((notice) => notice.id !== id);
    if (!this.notices.some(isFailure)) this.failuresGone = 0;
  }

  #push(notice: Omit<Notice, 'id'>): number {
    const id = this.#nextNotice;
    this.#nextNotice += 1;
    const all = [...this.notices, { ...notice, id }];
    this.notices = keptNotices(all);
    if (notice.error !== null) this.failuresGone += all.length - this.notices.length;
    return id;
  }

  #soon(what: string, work: () => Promise<void>): void {
    clearTimeout(this.#timers.get(what));
    this.#timers.set(
      what,
      setTimeout(() => void this.run(work), REFETCH_MS),
    );
  }
}

/** The problem of a job or a line as the error that it was. */
export function errorOfProblem(problem: Job['problem']): unknown {
  if (!problem) return new AppError('INTERNAL', { ref: '–' });
  if (problem.code in errorCatalogue) return new AppError(problem.code as ErrorCode, problem.details);
  return new Error(`${problem.message} ${problem.nextAction}`);
}

export const [getApp, setApp] = createContext<AppState>();
