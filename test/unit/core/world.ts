import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { z } from 'zod';
import { verifyActiveBundle } from '../../../main/audit/activation.ts';
import type { Backbone, Evidence, Job, LineStatus, ModelCard, Recheck } from '../../../main/contract/domain.ts';
import { shareGolden } from '../../../main/compression/golden.ts';
import { AppError } from '../../../main/contract/errors.ts';
import { lineEvents, lineMethods, type LineRecord } from '../../../main/contract/line.ts';
import { silentLog, type Logger } from '../../../main/contract/log.ts';
import type { MethodInput, MethodName, MethodOutput } from '../../../main/contract/methods.ts';
import { createClient } from '../../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../../main/contract/rpc/memory.ts';
import { createServer, type Server } from '../../../main/contract/rpc/server.ts';
import { trainerEvents, trainerMethods, type Suspect } from '../../../main/contract/trainer.ts';
import type { BackboneSources } from '../../../main/core/backbones.ts';
import type { Core, CoreEvent, CoreOptions, Processes, SecretStore, Session } from '../../../main/core/port.ts';
import { startCore } from '../../../main/core/start.ts';
import { stopped } from '../../../main/core/stopped-line.ts';
import { diskFullOr } from '../../../main/store/files.ts';
import { encodePng } from '../../../main/vision/decode.ts';
import { SMALL_COST } from '../../helpers/password-cost.ts';
import { newJudgement } from '../../store/examples.ts';

/*
 * A core with its real store, files, keys and services. Only what lives in other processes is small here: a trainer that writes the
 * files a trainer writes without learning anything, and a line that checks bundles and sends the records it is given. Both are
 * reached through the real rpc.
 */

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

export const testBackbone: Backbone = {
  id: 'bb-test',
  sha256: sha256('backbone'),
  file: '/nowhere/backbone.onnx',
  inputName: 'image',
  inputSize: 32,
  dynamicSize: true,
  mean: [127.5, 127.5, 127.5],
  std: [127.5, 127.5, 127.5],
  featureOutputs: [{ name: 'f', channels: 4, kind: 'pooled' }],
  features: 4,
  macs: 1,
  params: 1,
  source: 'test',
  licence: 'Apache-2.0',
};

type TrainerHandlers = {
  [M in keyof typeof trainerMethods]: (
    input: z.output<(typeof trainerMethods)[M]['input']>,
  ) => Promise<z.input<(typeof trainerMethods)[M]['output']>>;
};
type UpdateInput = z.output<(typeof trainerMethods)['trainer.update']['input']>;
type CompressInput = z.output<(typeof trainerMethods)['trainer.compress']['input']>;
export interface TrainerControl {
  /** Next trainer.update and trainer.compress, before they write anything, and trainer.recheck wait for this. */
  hold: Promise<void> | null;
  /** Next call, or each, drops the connection, as a crash does. */
  crash: boolean | 'always';
  evidence: (input: CompressInput) => Partial<Evidence>;
  /** Labels that the next updates doubt. */
  suspects: (input: UpdateInput) => Suspect[];
  /** What the model does on this PC; null: as in its evidence. */
  recheck: Omit<Recheck, 'at'> | null;
  rechecks: z.output<(typeof trainerMethods)['trainer.recheck']['input']>[];
  /** What a model says of a golden image. */
  judge: (sha: string) => { sha: string; verdict: 'ok' | 'ng' | 'unsure'; classId: string | null };
  updates: UpdateInput[];
  compressions: CompressInput[];
  stops: number;
}

export interface LineControl {
  emit(records: LineRecord[]): void;
  die(): void;
  configured: z.output<(typeof lineMethods)['line.configure']['input']>[];
  activated: string[];
  acknowledged: number[];
  /** Why no pictures are to be stored, as it was told; null: store them. */
  refused: (string | null)[];
  /** What the spool sends again before configure answers. */
  resend: LineRecord[];
  /** What it inspects while the core still finds out how it stands: told as soon as somebody listens. */
  early: LineRecord[];
  /** line.configure waits for this. */
  hold: Promise<void> | null;
  /** Such a call is answered after this; line.activate has exchanged the model by then. */
  holds: { [method in 'line.status' | 'line.stop' | 'line.activate' | 'line.archive']?: Promise<void> };
  /** What the next such call is refused with. */
  refuse: { 'line.configure'?: AppError; 'line.start'?: AppError };
  state: LineStatus['state'];
}

const measures = {
  accuracy: 0.9,
  balancedAccuracy: 0.9,
  interval: [0.8, 1] as [number, number],
  latencyMsP50: 2,
  latencyMsP99: 3,
  macs: 1,
  params: 1,
  bytes: 1,
};
const evidenceOf = (change: Partial<Evidence>): Evidence => ({
  reference: measures,
  candidate: measures,
  speedup: 3,
  accuracyDropPp: 0,
  basis: 'test',
  perClass: [],
  confusion: [],
  gates: [{ name: 'escape', limit: '5 %', measured: '1 %', bound: '3 %', outcome: 'pass', missing: 0 }],
  parity: { images: 1, equal: 1, maxLogitDifference: 0 },
  changed: [],
  environment: { cpu: 'test', onnxruntime: 'test', threads: 1 },
  dataSha256: sha256('data'),
  ...change,
});

export interface World {
  core: Core;
  home: string;
  trainer: TrainerControl;
  lines: Map<string, LineControl>;
  events: CoreEvent[];
  log: { level: string; text: string }[];
  session: Session;
  call<M extends MethodName>(method: M, input: MethodInput<M>, session?: Session): Promise<MethodOutput<M>>;
  /** Waits for the job's end; throws what it failed with as AppError. */
  done(job: Job): Promise<Job>;
  /** Ends the core and opens the same home again. */
  reopen(): Promise<void>;
  close(): Promise<void>;
}

const createTrainer = (control: TrainerControl, emit: () => Server<typeof trainerEvents> | null) => ({
  'trainer.update': async (input: z.output<(typeof trainerMethods)['trainer.update']['input']>) => {
    control.updates.push(input);
    emit()?.emit('trainer.progressed', {
      progress: 0.5,
      secondsLeft: 1,
      step: { key: 'update.features', details: {} },
    });
    const width = input.backbone.features * 4;
    let next = statSync(input.featureFile).size / width;
    const rows = input.images
      .filter((image) => image.row === -1)
      .map((image) => {
        appendFileSync(input.featureFile, Buffer.from(new Float32Array(input.backbone.features).fill(next + 1).buffer));
        next += 1;
        return { sha: image.sha, row: next - 1 };
      });
    if (control.hold !== null) await control.hold;
    writeFileSync(join(input.outDir, 'knowledge.json'), '{}');
    writeFileSync(join(input.outDir, 'head.f64'), 'head');
    const classIds = [...new Set(input.images.map((image) => image.classId))].toSorted();
    const classes = classIds.map((classId) => ({
      classId,
      labelled: input.images.filter((image) => image.classId === classId).length,
    }));
    const summary = { lambda: 1, balancing: 0, temperature: 1, balancedAccuracy: 0.9, classes, seconds: 0.1 };
    return { summary, rows, suspects: control.suspects(input) };
  },
  'trainer.compress': async (input: CompressInput) => {
    control.compressions.push(input);
    if (!input.enough) {
      emit()?.emit('trainer.progressed', { progress: 0.3, secondsLeft: 9, step: { key: 'compress.try', details: {} } });
      if (control.hold !== null) await control.hold;
    }
    const candidates = input.candidateIds.slice(0, 2).map((id, n) => {
      const dir = join(input.outDir, String(n));
      mkdirSync(dir);
      const model = `model ${id}`;
      const card: ModelCard = {
        format: 1,
        id,
        createdAt: '2026-01-01T00:00:00.000Z',
        demo: input.demo,
        stationId: input.stationId,
        backboneId: input.backbone.id,
        backboneSha256: input.backbone.sha256,
        knowledgeId: input.knowledgeId,
        modelSha256: sha256(model),
        inputSize: 32,
        mean: [0, 0, 0],
        std: [1, 1, 1],
        classes: input.classes.map((each) => ({ id: each.id, names: each.names, isOk: each.isOk })),
        temperature: 1,
        thresholds: { ok: 0.5, ng: 0.5, novelty: 3 },
        strategy: 'post-prune',
        precision: 'fp32',
        recipe: input.recipe,
      };
      const evidence = evidenceOf(control.evidence(input));
      writeFileSync(join(dir, 'model.onnx'), model);
      writeFileSync(join(dir, 'model.json'), JSON.stringify(card));
      writeFileSync(join(dir, 'evidence.json'), JSON.stringify(evidence));
      return { dir, card, evidence, ratio: 0.5, offered: n === 0, recommended: n === 0, reason: 'test' };
    });
    return { candidates, why: 'test' };
  },
  'trainer.features': async (input: z.output<(typeof trainerMethods)['trainer.features']['input']>) => ({
    features: Float32Array.from({ length: input.images.length * 4 }, (_, i) =>
      i % 4 === Math.floor(i / 4) % 2 ? 1 : 0.01,
    ),
  }),
  'trainer.export': async () => ({ classes: [] }),
  'trainer.check': async () => ({ images: 0, differing: [], rebuilt: [] }),
  'trainer.shadow': async ({ frames }: z.output<(typeof trainerMethods)['trainer.shadow']['input']>) => ({
    judged: frames.length,
    disagreements: 1,
    unreadable: 0,
    outOfTime: false,
    examples: frames.slice(0, 1).map(({ sha }) => ({
      imageSha: sha,
      from: { verdict: 'ng' as const, classId: null },
      to: { verdict: 'ok' as const, classId: null },
    })),
  }),
  'trainer.weigh': async ({ bundleDir }: z.output<(typeof trainerMethods)['trainer.weigh']['input']>) => ({
    rssBytes: 100_000_000 + statSync(join(bundleDir, 'model.onnx')).size,
  }),
  'trainer.golden': async (input: z.output<(typeof trainerMethods)['trainer.golden']['input']>) => {
    const learnt = new Set(input.learnt.map(({ sha }) => sha));
    return {
      results: input.bundleDir === null ? [] : input.golden.map(({ sha }) => control.judge(sha)),
      leaks: input.golden.filter(({ sha }) => learnt.has(sha)).map(({ sha }) => ({ sha, like: sha })),
      unreadable: [],
      looks: [],
    };
  },
  // Little but reads pictures: as it is.
  'trainer.goldenShare': async (input: z.output<(typeof trainerMethods)['trainer.goldenShare']['input']>) =>
    shareGolden(input),
  'trainer.recheck': async (input: z.output<(typeof trainerMethods)['trainer.recheck']['input']>) => {
    control.rechecks.push(input);
    if (control.hold !== null) await control.hold;
    return control.recheck;
  },
  'trainer.heatMap': async () => ({ width: 1, height: 1, weights: [255], region: { x: 0, y: 0, width: 8, height: 8 } }),
});

const createProcesses = (
  home: string,
  trainer: TrainerControl,
  lines: Map<string, LineControl>,
  real: Partial<TrainerHandlers>,
): Processes => {
  let dropTrainer = (): void => {};
  const running = new Set<string>();
  return {
    // This world has no such process; test/process has the real one.
    async cameras() {
      throw new AppError('DISCONNECTED', { peer: 'cameras' });
    },
    feedTicket: async (stationId) => (running.has(stationId) ? `ticket of ${stationId}` : null),
    async trainer() {
      const [ours, theirs] = createMemoryPair();
      let server: Server<typeof trainerEvents> | null = null;
      const handlers = { ...createTrainer(trainer, () => server), ...real };
      const crashing = Object.fromEntries(
        Object.entries(handlers).map(([name, handler]) => [
          name,
          async (input: never) => {
            if (trainer.crash !== false) {
              if (trainer.crash !== 'always') trainer.crash = false;
              theirs.close();
              return new Promise(() => {});
            }
            try {
              return await handler(input);
            } catch (error) {
              // As the real trainer tells of a full disk.
              throw diskFullOr(error, home);
            }
          },
        ]),
      ) as unknown as typeof handlers;
      server = createServer({
        methods: trainerMethods,
        events: trainerEvents,
        handlers: crashing,
        channel: theirs,
        session: null,
      });
      dropTrainer = () => theirs.close();
      return createClient<typeof trainerMethods, typeof trainerEvents>(ours, { peer: 'trainer' });
    },
    async line(stationId) {
      running.add(stationId);
      const [ours, theirs] = createMemoryPair();
      const status = (): LineStatus => ({ ...stopped(stationId), state: control.state, camera: 'well' });
      const before = lines.get(stationId);
      let isConfigured = false;
      const control: LineControl = {
        configured: before?.configured ?? [],
        activated: before?.activated ?? [],
        acknowledged: before?.acknowledged ?? [],
        refused: before?.refused ?? [],
        resend: before?.resend ?? [],
        early: before?.early ?? [],
        hold: before?.hold ?? null,
        holds: before?.holds ?? {},
        refuse: before?.refuse ?? {},
        // A process outlives the core's connection to it.
        state: before?.state ?? 'stopped',
        emit: (records) => server.emit('line.recorded', { records }),
        die() {
          control.state = 'stopped';
          theirs.close();
        },
      };
      const mayRefuse = (method: keyof LineControl['refuse']) => {
        const { [method]: error } = control.refuse;
        delete control.refuse[method];
        if (error) throw error;
      };
      const check = (bundleDir: string) =>
        verifyActiveBundle({
          home,
          bundleDir,
          rootPublicKey: readFileSync(join(home, 'trust/root.pub'), 'utf8'),
          demo: isDemo(home),
          stationId,
        });
      const server: Server<typeof lineEvents> = createServer({
        methods: lineMethods,
        events: lineEvents,
        channel: theirs,
        session: null,
        handlers: {
          'line.configure': async (input) => {
            if (control.hold !== null) await control.hold;
            mayRefuse('line.configure');
            if (input.bundleDir !== null) await check(input.bundleDir);
            control.configured.push(input);
            isConfigured = true;
            for (const record of control.resend.splice(0)) control.emit([record]);
            return status();
          },
          'line.start': async () => {
            mayRefuse('line.start');
            if (control.state === 'stopped') control.state = 'running';
            return status();
          },
          'line.trigger': async () => ({ taken: true }),
          'line.testOutput': async () => ({}),
          'line.preview': async () => (control.state === 'running' ? null : PREVIEWED),
          'line.endPreview': async () => ({}),
          'line.stop': async () => {
            await control.holds['line.stop'];
            if (!isConfigured)
              throw new AppError('CONFLICT', { what: 'the line', state: 'not configured', needed: 'line.configure' });
            control.state = 'stopped';
            return status();
          },
          'line.status': async () => {
            await control.holds['line.status'];
            return status();
          },
          'line.activate': async ({ bundleDir }) => {
            await check(bundleDir);
            control.activated.push(bundleDir);
            await control.holds['line.activate'];
            return status();
          },
          'line.archive': async ({ refused }) => {
            control.refused.push(refused?.code ?? null);
            await control.holds['line.archive'];
            return {};
          },
          'line.acknowledge': async ({ seq }) => {
            control.acknowledged.push(seq);
            return {};
          },
        },
      });
      lines.set(stationId, control);
      setImmediate(() => control.early.length > 0 && control.emit(control.early.splice(0)));
      return createClient<typeof lineMethods, typeof lineEvents>(ours, { peer: `line:${stationId}` });
    },
    async stop(name) {
      if (name === 'trainer') {
        trainer.stops += 1;
        dropTrainer();
      } else {
        const stationId = name.replace('line:', '');
        if (running.delete(stationId)) lines.get(stationId)?.die();
      }
    },
    runningLines: async () => [...running],
  };
};

/** What the made-up line's camera shows. */
const PREVIEWED = {
  state: 'delivering' as const,
  problem: null,
  picture: { number: 1, width: 64, height: 48, jpeg: Uint8Array.of(0xff, 0xd8, 0xff, 0xd9) },
};

const isDemo = (home: string): boolean =>
  (JSON.parse(readFileSync(join(home, 'mekiki.json'), 'utf8')) as { demo: boolean }).demo;

export interface WorldOptions {
  demo?: boolean;
  home?: string;
  now?: () => Date;
  freeSpace?: NonNullable<CoreOptions['freeSpace']>;
  secrets?: SecretStore;
  backbones?: BackboneSources;
  /** Whose updates it believes. */
  releaseKeys?: readonly string[];
  renderDemoImages?: NonNullable<CoreOptions['renderDemoImages']>;
  /** Real work in place of the small trainer's. */
  trainer?: Partial<TrainerHandlers>;
}

export const startWorld = async (options: WorldOptions = {}): Promise<World> => {
  const base = mkdtempSync(join(tmpdir(), 'mekiki-core-'));
  const home = options.home ?? join(base, 'home');
  const trainer: TrainerControl = {
    hold: null,
    crash: false,
    evidence: () => ({}),
    suspects: () => [],
    recheck: null,
    rechecks: [],
    judge: (sha) => ({ sha, verdict: 'ok', classId: 'ok' }),
    updates: [],
    compressions: [],
    stops: 0,
  };
  const lines = new Map<string, LineControl>();
  const events: CoreEvent[] = [];
  const log: World['log'] = [];
  const collect = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    void log.push({
      level,
      text: `${message} ${JSON.stringify(fields ?? {}, (_, v) => (v instanceof Error ? String(v.stack) : v))}`,
    });
  const logger: Logger = {
    ...silentLog,
    debug: collect('debug'),
    info: collect('info'),
    warn: collect('warn'),
    error: collect('error'),
  };
  const processes = createProcesses(home, trainer, lines, options.trainer ?? {});
  const open = async () => {
    world.core = await startCore({
      home,
      demo: options.demo ?? false,
      log: logger,
      processes,
      passwordCost: SMALL_COST,
      backbones: options.backbones ?? {
        shipped: async () => testBackbone,
        take: async () => testBackbone,
        read: async () => testBackbone,
      },
      ...(options.now && { now: options.now }),
      ...(options.releaseKeys && { releaseKeys: options.releaseKeys }),
      ...(options.renderDemoImages && { renderDemoImages: options.renderDemoImages }),
      ...(options.freeSpace && { freeSpace: options.freeSpace }),
      ...(options.secrets && { secrets: options.secrets }),
    });
    world.core.subscribe((event) => void events.push(event));
    world.session = world.core.openSession();
  };
  const world: World = {
    core: undefined as unknown as Core,
    session: undefined as unknown as Session,
    home,
    trainer,
    lines,
    events,
    log,
    call: (method, input, session = world.session) =>
      (world.core.handlers[method] as (i: unknown, s: Session, signal: AbortSignal) => Promise<never>)(
        input,
        session,
        new AbortController().signal,
      ),
    async done(job) {
      for (;;) {
        const found = (await world.call('jobs.list', {})).find((each) => each.id === job.id);
        if (found !== undefined && !['waiting', 'running'].includes(found.state)) {
          if (found.problem !== null) throw AppError.fromWire({ ...found.problem, ref: found.id });
          return found;
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    async reopen() {
      await world.core.close();
      await open();
    },
    async close() {
      await world.core?.close();
      rmSync(base, { recursive: true, force: true });
    },
  };
  await open().catch((error: unknown) => {
    rmSync(base, { recursive: true, force: true });
    throw error;
  });
  return world;
};

export const PASSWORD = 'correct horse';

/** First supervisor `sato`, and a technician `tanaka` with a session of her own. */
export const setUp = async (world: World): Promise<{ stationId: string; technician: Session }> => {
  await world.call('session.firstStart', { language: 'en', name: 'sato', password: PASSWORD });
  await world.call('users.add', { name: 'tanaka', role: 'technician', password: PASSWORD });
  const technician = world.core.openSession();
  await world.call('session.signIn', { name: 'tanaka', password: PASSWORD }, technician);
  const [station] = await world.call('stations.list', {});
  return { stationId: station!.id, technician };
};

let pictures = 0;
/** A small PNG like no other. */
export const writePicture = async (file: string): Promise<void> => {
  pictures += 1;
  const data = Uint8Array.from({ length: 64 }, (_, i) => (i * 7 + pictures * 13 + (i % (1 + pictures)) * 3) % 256);
  data[0] = pictures % 256;
  data[1] = pictures >> 8;
  writeFileSync(file, await encodePng({ width: 8, height: 8, channels: 1, data }));
};

/** `<folder>/<class>/<n>.png`. */
export const writeDataset = async (folder: string, classes: Record<string, number>): Promise<string> => {
  for (const [name, count] of Object.entries(classes)) {
    mkdirSync(join(folder, name), { recursive: true });
    for (let n = 0; n < count; n += 1) await writePicture(join(folder, name, `${n}.png`));
  }
  return folder;
};

export const lineRecord = (seq: number, change: Partial<LineRecord> = {}): LineRecord => ({
  seq,
  at: '2026-01-01T00:00:00.000Z',
  imageSha: seq.toString(16).padStart(64, '0'),
  width: 8,
  height: 8,
  judgement: newJudgement({ verdict: 'ok', unsureReason: null }),
  notes: [],
  ...change,
});

/** Until it is true; the test's own timeout is the limit. */
export const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
};
