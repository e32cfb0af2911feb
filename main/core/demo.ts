import {
  cameraConfigSchema,
  criteriaSchema,
  type CameraConfig,
  type Gate,
  type Job,
  type Station,
} from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import type { PixelImage } from '../vision/image.ts';
import type { ApprovalService } from './approval.ts';
import { demoAccounts, type Accounts } from './accounts.ts';
import type { Backbones } from './backbones.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { readEvidence, type CandidateService } from './candidates.ts';
import type { ClassService } from './classes.ts';
import type { CoreContext, HandlersOf } from './context.ts';
import type { ImportService, ImportSource } from './import.ts';
import type { JobService, JobWork } from './jobs.ts';
import type { KnowledgeService } from './knowledge.ts';
import type { StationService } from './stations.ts';

/** Labelled parts as the simulated line would deliver them, without the class that appears late. Drawn one at a time. */
export type RenderDemoImages = (
  camera: Extract<CameraConfig, { kind: 'simulated' }>,
  perClass: number,
) => Promise<{
  classes: { className: string; names: { en: string; ja: string } }[];
  total: number;
  images: Iterable<{ image: PixelImage; className: string }>;
}>;

export interface DemoService {
  handlers: HandlersOf<'session.startDemo'>;
}

const PER_CLASS = 24;
/** Compression of the demo: enough for a small model, and a newcomer waits. */
const BUDGET_S = 30;
const MEANING = 'Demonstration only: made and signed by the demo itself';
const WAIVER = 'Demo: too few images for a real approval';

/** Shares of the job's bar. */
const STAGES = { import: [0, 0.4], update: [0.4, 0.6], compress: [0.6, 0.97] } as const;

export const createDemoService = (
  context: CoreContext,
  parts: {
    jobs: JobService;
    accounts: Accounts;
    stations: StationService;
    classes: ClassService;
    backbones: Backbones;
    imports: ImportService;
    knowledge: KnowledgeService;
    candidates: CandidateService;
    approvals: ApprovalService;
    render: RenderDemoImages;
  },
): DemoService => {
  const { store } = context;
  const { jobs, accounts, stations, classes, backbones, imports, knowledge, candidates, approvals, render } = parts;

  const stageOf = (job: JobWork, stage: keyof typeof STAGES): JobWork => {
    const [from, to] = STAGES[stage];
    // Only the last stage ends the job.
    return { ...job, progress: (share, step) => job.progress(from + (to - from) * share, step), commit: () => {} };
  };

  const prepare = async (language: 'en' | 'ja'): Promise<Station> => {
    const backbone = await backbones.shipped();
    for (const { name, role, password } of demoAccounts) {
      if (store.users.accountByName(name) === null) await accounts.create(name, role, password);
    }
    accounts.setLanguage(language, null);
    const [known] = store.stations.list();
    if (known !== undefined) return known;
    return store.transaction(() => {
      classes.ensureOk();
      return stations.insert(
        {
          name: language === 'ja' ? 'デモライン' : 'Demo line',
          camera: cameraConfigSchema.parse({ kind: 'simulated' }),
          backboneId: backbone.id,
          // A demo shows the way; it does not have to hold a plant's limits.
          criteria: criteriaSchema.parse({ maxEscape: 1, maxOverkill: 1, maxLatencyMsP99: 10_000, maxDropPp: 100 }),
        },
        'system',
      );
    });
  };

  const takeImages = async (job: JobWork, station: Station, userId: string): Promise<void> => {
    assert(station.camera.kind === 'simulated', 'the demo made its station with the simulated camera');
    const drawn = await render(station.camera, PER_CLASS);
    // Ids as folder names: an import knows a class by its id.
    const idOf = new Map(
      drawn.classes.map((each) => [each.className, classes.forNames(each.className, each.names).id]),
    );
    context.emit('classes.changed', {});
    const sources = function* (): Iterable<ImportSource> {
      let n = 0;
      for (const { image, className } of drawn.images) {
        n += 1;
        yield {
          name: `${className} ${n}`,
          file: null,
          className: idOf.get(className) ?? className,
          load: async () => ({ image, notes: [] }),
        };
      }
    };
    await imports.take(
      stageOf(job, 'import'),
      station,
      { total: drawn.total, sources: sources() },
      { session: null, userId },
    );
  };

  /** The recommended one, else the best that no gate forbids. */
  const choose = async (ids: string[]): Promise<string> => {
    const failures: string[] = [];
    for (const id of ids) {
      const { offered, reason } = store.candidates.get(id);
      const { gates } = await readEvidence(bundleDirOf(store.home, id));
      const failed = gates.filter((gate: Gate) => gate.outcome === 'fail').map((gate) => gate.name);
      if (offered && failed.length === 0) return id;
      failures.push(offered ? failed.join(', ') : reason);
    }
    throw new AppError('GATE_FAILED', { model: 'every candidate of the demo', gates: failures.join('; ') });
  };

  const make = async (job: JobWork, language: 'en' | 'ja'): Promise<string[]> => {
    job.progress(0, { key: 'demo.preparing', details: {} });
    const station = await prepare(language);
    context.emit('stations.changed', {});
    const [supervisor] = demoAccounts;
    assert(supervisor !== undefined, 'the demo has a supervisor');
    const signer = await accounts.unlock(supervisor.name, supervisor.password);
    const by = signer.account.user;
    if (store.labels.perClass(station.id).length < 2) await takeImages(job, station, by.id);
    await knowledge.update(stageOf(job, 'update'), station.id, by.name);
    const ids = await candidates.compress(stageOf(job, 'compress'), station.id, BUDGET_S, by.name);
    const id = await choose(ids);
    const { changed } = await readEvidence(bundleDirOf(store.home, id));
    const seenChanged = changed.map((change) => change.imageSha);
    await approvals.approve(id, signer, { meaning: MEANING, waiver: WAIVER, seenChanged });
    await approvals.activate(id, 'activate', { userId: by.id, name: by.name });
    return [id];
  };

  return {
    handlers: {
      async 'session.startDemo'({ language }, session): Promise<Job> {
        await store.becomeDemo();
        const ready = store.stations.list().some((station) => station.activeModelId !== null);
        const firstStep = { key: ready ? 'demo.ready' : 'demo.preparing', details: {} };
        const what = { kind: 'demo', stationId: null, session, firstStep } as const;
        return jobs.underWay(what) ?? jobs.start(what, (job) => (ready ? Promise.resolve([]) : make(job, language)));
      },
    },
  };
};
