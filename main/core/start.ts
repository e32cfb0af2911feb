import { resolve } from 'node:path';
import { PASSWORD_COST } from '../audit/keys.ts';
import { cameraConfigSchema, FIRST_STATION } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { methods, type MethodName } from '../contract/methods.ts';
import { createAuthorize } from '../contract/rpc/authorize.ts';
import { zodProblem } from '../contract/rpc/wire.ts';
import { diskFullOr } from '../store/files.ts';
import { openStore, type Store } from '../store/open.ts';
import { thumbnail } from '../vision/decode.ts';
import { createAccounts, type Accounts } from './accounts.ts';
import { createActiveModels } from './active-models.ts';
import { createActiveCheck, createApprovalService } from './approval.ts';
import { createAuditService } from './audit.ts';
import { createBackbones } from './backbones.ts';
import { createBackupService } from './backup.ts';
import { createBundleService } from './bundles.ts';
import { createCameraPreview } from './camera-preview.ts';
import { createCandidateService } from './candidates.ts';
import { createClassService } from './classes.ts';
import type { CoreContext } from './context.ts';
import { createDemoService } from './demo.ts';
import { createGoldenFilling } from './golden-filling.ts';
import { createGoldenRefresh } from './golden-refresh.ts';
import { createGoldenService } from './golden.ts';
import { createFileSecretStore, openHomeKeys } from './home-keys.ts';
import { createForgottenFeatures } from './forgotten-features.ts';
import { createFoundCameras } from './found-cameras.ts';
import { createHomeState } from './home-state.ts';
import { createImportService } from './import.ts';
import { createIngest } from './ingest.ts';
import { createJobService } from './jobs.ts';
import { createKnowledgeExchange } from './knowledge-exchange.ts';
import { createKnowledgeService } from './knowledge.ts';
import { createLabelledByService } from './labelled-by.ts';
import { createLabelService } from './labels.ts';
import { createLines } from './lines.ts';
import { createMergedSums } from './merged-sums.ts';
import { createMonitorService } from './monitor.ts';
import { createNearDuplicateService } from './near-duplicates.ts';
import { createPartService } from './parts.ts';
import { createPlannedActivations } from './planned-activation.ts';
import { createPlantEvents } from './plant-events.ts';
import { createPasswords } from './passwords.ts';
import type { Core, CoreEvent, CoreOptions, Handlers, SecretStore, Session } from './port.ts';
import { createQuickCodes } from './quick-codes.ts';
import { createQueueRanking } from './queue-ranking.ts';
import { createRecheckService } from './recheck.ts';
import { createReportService } from './reports.ts';
import { createStudyService } from './studies.ts';
import { createRevalidation } from './revalidation.ts';
import { createSignedDecisions } from './signed-decisions.ts';
import { shippedSources } from './shipped-sources.ts';
import { createShadowService } from './shadow.ts';
import { createSecondOpinionService } from './second-opinion.ts';
import { createStationService } from './stations.ts';
import { createRetentionService } from './retention.ts';
import { sweepHome } from './sweep.ts';
import { releaseKeys } from './release-keys.ts';
import { createTwoPersons } from './two-persons.ts';
import { createUpdateService } from './updates.ts';

/** Role, then input, then the service: whatever host calls, and however. NOT_ALLOWED, INVALID_INPUT. */
const guard = (handlers: Handlers, accounts: Accounts, home: string): Handlers => {
  const authorize = createAuthorize(methods);
  const guarded = (Object.keys(handlers) as MethodName[]).map((name) => {
    // The map ties input and handler together; the compiler cannot follow a key that it does not know.
    const handler = handlers[name] as (input: unknown, session: Session, signal: AbortSignal) => Promise<unknown>;
    const checked = async (input: unknown, session: Session, signal: AbortSignal): Promise<unknown> => {
      accounts.refresh(session);
      authorize(name, session);
      if (methods[name].roles !== 'anyone' && name !== 'session.changePassword') accounts.refusePasswordDue(session);
      const parsed = methods[name].input.safeParse(input);
      if (!parsed.success) throw new AppError('INVALID_INPUT', { what: name, problem: zodProblem(parsed.error) });
      // Whoever asked: a job waits its turn, and somebody else may sign in at the same window meanwhile. Signing in and out changes the session itself.
      const asked = name.startsWith('session.') ? session : { ...session };
      try {
        return await handler(parsed.data, asked, signal);
      } catch (error) {
        // Whichever write it was that found the disk full.
        throw diskFullOr(error, home);
      }
    };
    return [name, checked];
  });
  return Object.fromEntries(guarded) as Handlers;
};

/** Builds the world: the one place where services meet. Errors: those of openStore, and ROOT_KEY_LOST. */
export const startCore = async (options: CoreOptions): Promise<Core> => {
  const home = resolve(options.home);
  const { log, processes, now = () => new Date(), opening = (open) => open() } = options;
  const store = await opening(() => openStore({ home, demo: options.demo, now }));
  try {
    if (options.demo) await store.becomeDemo();
    const secrets = options.secrets ?? createFileSecretStore(home, log);
    const keys = await openHomeKeys(home, secrets, store.users.list().length > 0);
    await sweepHome(store, log);
    return await build({ ...options, home, now }, store, { keys, secrets }, processes);
  } catch (error) {
    store.close();
    throw error;
  }
};

const build = async (
  options: CoreOptions & { now: () => Date },
  store: Store,
  { keys, secrets }: { keys: CoreContext['keys']; secrets: SecretStore },
  processes: CoreContext['processes'],
): Promise<Core> => {
  const { home, log, now } = options;
  const listeners = new Set<(event: CoreEvent) => void>();
  const context: CoreContext = {
    store,
    keys,
    log,
    processes,
    now,
    version: options.version ?? '0.0.0',
    testRuntime: options.testRuntime ?? false,
    trainerThreads: options.trainerThreads ?? 2,
    passwordCost: options.passwordCost ?? PASSWORD_COST,
    emit(name, payload, sessionId) {
      const event = { name, payload, sessionId: sessionId ?? null } as CoreEvent;
      for (const listener of listeners) {
        try {
          listener(event);
        } catch (error) {
          log.error('a listener failed', { event: name, error });
        }
      }
    },
  };

  const sources = shippedSources();
  const backbones = createBackbones(context, options.backbones ?? sources.backbones);
  const jobs = createJobService(context);
  const classes = createClassService(context);
  const monitor = createMonitorService(context);
  const plantEvents = createPlantEvents(context, secrets);
  const checkActive = createActiveCheck(context);
  const actives = createActiveModels(context, checkActive);
  const lines = createLines(context, createIngest(context, monitor, plantEvents), checkActive, plantEvents);
  const stations = createStationService(context, backbones, lines);
  const accounts = createAccounts(context, async () => {
    const backbone = await backbones.shipped();
    return () => {
      classes.ensureOk();
      if (store.stations.list().length > 0) return;
      const name = FIRST_STATION[store.settings.get('language') === 'ja' ? 'ja' : 'en'];
      stations.insert(
        { name, camera: cameraConfigSchema.parse({ kind: 'simulated' }), backboneId: backbone.id },
        'system',
      );
    };
  });
  const ranking = createQueueRanking(context, backbones, jobs);
  const labels = createLabelService(context, ranking.wanted);
  const imports = createImportService(context, { jobs, labels, classes });
  const filling = createGoldenFilling(context);
  const merged = createMergedSums(context, backbones);
  const forgotten = createForgottenFeatures(context, backbones);
  const knowledge = createKnowledgeService(context, backbones, jobs, { filling, merged, forgotten });
  const candidates = createCandidateService(context, backbones, jobs, merged);
  const shadow = createShadowService(context, jobs);
  const twoPersons = createTwoPersons(context);
  const recheck = createRecheckService(context);
  const golden = createGoldenService(context, { jobs, classes });
  const decisions = createSignedDecisions(context, accounts);
  const revalidation = createRevalidation(context, jobs, recheck);
  const approvals = createApprovalService(context, {
    accounts,
    lines,
    monitor,
    twoPersons,
    recheck,
    golden,
    actives,
    decisions,
    revalidation,
  });
  const render = options.renderDemoImages ?? sources.renderDemoImages;
  const parts = { jobs, accounts, stations, classes, backbones, imports, knowledge, candidates, approvals, render };
  const demo = createDemoService(context, parts);
  const planned = createPlannedActivations(context, approvals, accounts, decisions);

  const audit = createAuditService(context);
  const backups = createBackupService(context, jobs, accounts, secrets);
  const retention = createRetentionService(context, { jobs, lines });
  const homeState = createHomeState(context, {
    jobs,
    lines,
    backups,
    keychainAsked: options.keychainAsked,
    freeSpace: options.freeSpace,
  });

  const handlers: Handlers = {
    ...accounts.handlers,
    ...createPasswords(context, accounts).handlers,
    ...createQuickCodes(context, accounts).handlers,
    ...demo.handlers,
    ...stations.handlers,
    ...createFoundCameras(context).handlers,
    ...createCameraPreview(context, lines).handlers,
    ...lines.handlers,
    ...createPartService(context).handlers,
    ...classes.handlers,
    ...labels.handlers,
    ...createNearDuplicateService(context).handlers,
    ...createSecondOpinionService(context).handlers,
    ...imports.handlers,
    ...knowledge.handlers,
    ...createKnowledgeExchange(context, backbones, jobs, { knowledge, merged, classes }).handlers,
    ...jobs.handlers,
    ...candidates.handlers,
    ...createLabelledByService(context).handlers,
    ...shadow.handlers,
    ...golden.handlers,
    ...revalidation.handlers,
    ...filling.handlers,
    ...createGoldenRefresh(context, { jobs, filling }).handlers,
    ...approvals.handlers,
    ...planned.handlers,
    ...twoPersons.handlers,
    ...createBundleService(context, { recheck, classes }).handlers,
    ...createUpdateService(context, options.releaseKeys ?? releaseKeys).handlers,
    ...backbones.handlers,
    ...audit.handlers,
    ...backups.handlers,
    ...homeState.handlers,
    ...createReportService(context).handlers,
    ...retention.handlers,
    ...createStudyService(context).handlers,
    ...monitor.handlers,
    ...plantEvents.handlers,
  };

  await backups.takeUp();
  await homeState.start();
  await plantEvents.start();
  await accounts.start();
  await actives.settle();
  await lines.takeUp();
  plantEvents.watch(lines.statuses);
  await forgotten.eraseAll();
  jobs.takeUp();
  planned.start();
  retention.start();
  revalidation.start();
  log.info('core started', { home, demo: store.demo, stations: store.stations.list().length });

  let closing: Promise<void> | null = null;
  return {
    home,
    get demo() {
      return store.demo;
    },
    handlers: guard(handlers, accounts, home),
    openSession: accounts.openSession,
    closeSession: accounts.closeSession,
    subscribe(callback) {
      // A wrapper of its own, so that the same function may be given twice.
      const listener = (event: CoreEvent) => callback(event);
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async readImage(sha, width) {
      const bytes = await store.images.read(sha);
      return width === null ? bytes : thumbnail(bytes, width);
    },
    close() {
      closing ??= (async () => {
        homeState.close();
        revalidation.close();
        await planned.close();
        await retention.close();
        await ranking.close();
        await jobs.close();
        lines.close();
        await plantEvents.close();
        accounts.close();
        await audit.close();
        store.close();
        listeners.clear();
        log.info('core closed', { home });
      })();
      return closing;
    },
  };
};
