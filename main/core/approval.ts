import type { KeyObject } from 'node:crypto';
import type { ActiveModel } from '../audit/activation.ts';
import { removeApproval, signApproval, verifyBundle } from '../audit/approval.ts';
import type { Candidate, Gate, GoldenResult } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { createLane } from '../contract/lane.ts';
import { nodeFiles } from '../store/files.ts';
import type { Account } from '../store/users.ts';
import type { Accounts } from './accounts.ts';
import type { ActiveModelsService } from './active-models.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { readEvidence } from './candidates.ts';
import { actor, userOf, type CoreContext, type HandlersOf } from './context.ts';
import type { GoldenService } from './golden.ts';
import type { Lines } from './lines.ts';
import type { MonitorService } from './monitor.ts';
import type { DecisionSignature, SignedDecisions } from './signed-decisions.ts';
import type { Session } from './port.ts';
import { requireSameHere, type RecheckService } from './recheck.ts';
import type { Revalidation } from './revalidation.ts';
import type { TwoPersons } from './two-persons.ts';

/**
 * `signature`: given for just this; absent where the approval stands for it, or, with `planSigned`, the signature that the plan was made with. `check`: throws in the transaction
 * where it is not to come about any more.
 */
interface ActivatedBy {
  userId: string;
  name: string;
  signature?: DecisionSignature | null;
  planSigned?: boolean;
  check?: () => void;
}

export interface ApprovalService {
  handlers: HandlersOf<
    'candidates.approve' | 'candidates.reject' | 'models.activate' | 'models.previous' | 'models.rollback'
  >;
  /** Gates, waiver, changed verdicts, signature. For approve and for the demo's own supervisor. */
  approve(
    candidateId: string,
    signer: { account: Account; privateKey: KeyObject },
    statement: { meaning: string; waiver: string | null; seenChanged: readonly string[] },
  ): Promise<Candidate>;
  activate(
    candidateId: string,
    kind: 'activate' | 'rollback',
    by: ActivatedBy,
  ): Promise<{ active: Candidate; previous: string | null }>;
}

interface Parts {
  accounts: Accounts;
  lines: Lines;
  monitor: Pick<MonitorService, 'restart'>;
  twoPersons: Pick<TwoPersons, 'check' | 'rule'>;
  recheck: RecheckService;
  golden: Pick<GoldenService, 'decide'>;
  actives: Pick<ActiveModelsService, 'exchange'>;
  decisions: SignedDecisions;
  revalidation: Pick<Revalidation, 'settle'>;
}

const namesOf = (gates: Gate[]): string => gates.map((gate) => gate.name).join(', ');

/** Throws NOT_APPROVED or BUNDLE_ALTERED unless the files themselves prove that this model may inspect here. */
const createBundleCheck =
  ({ store, keys }: Pick<CoreContext, 'store' | 'keys'>) =>
  async (stationId: string, candidateId: string): Promise<ActiveModel> => {
    const { approval } = await verifyBundle({
      bundleDir: bundleDirOf(store.home, candidateId),
      rootPublicKey: keys.rootPublicKey(),
      demo: store.demo,
      stationId,
    });
    // A good bundle laid under another one's name is still not that other one.
    if (approval.candidateId !== candidateId) {
      throw new AppError('NOT_APPROVED', {
        model: candidateId,
        problem: `its files are those of ${approval.candidateId}`,
      });
    }
    return { candidateId, bundleSha256: approval.bundleSha256 };
  };

/** The same of the model that a line is set up with, which also has to be the one that the trail says was activated last: approved is not active. */
export const createActiveCheck = (context: Pick<CoreContext, 'store' | 'keys'>) => {
  const checkBundle = createBundleCheck(context);
  return async (stationId: string, candidateId: string): Promise<ActiveModel> => {
    const model = await checkBundle(stationId, candidateId);
    const last = context.store.audit.lastActivated(stationId);
    if (last !== candidateId) {
      const problem = `by the audit trail ${last ?? 'no model'} was activated last`;
      throw new AppError('NOT_APPROVED', { model: candidateId, problem });
    }
    return model;
  };
};

export const createApprovalService = (
  context: CoreContext,
  { accounts, lines, monitor, twoPersons, recheck, golden, actives, decisions, revalidation }: Parts,
): ApprovalService => {
  const { store, log } = context;
  const checkBundle = createBundleCheck(context);

  const checkState = (candidate: Candidate): void => {
    const open = candidate.state === 'candidate' || candidate.state === 'submitted';
    if (open && candidate.offered) return;
    const state = open ? 'not offered' : candidate.state;
    throw new AppError('CONFLICT', { what: `candidate ${candidate.id}`, state, needed: 'an offered candidate' });
  };

  /** NOT_APPROVED. */
  const checkApproved = (candidateId: string): void => {
    const { state } = store.candidates.get(candidateId);
    if (!['approved', 'retired', 'active'].includes(state))
      throw new AppError('NOT_APPROVED', { model: candidateId, problem: `its state is "${state}"` });
  };

  /** By the evidence in the bundle, not by the row; gives the figures on the golden set that it stands on, if any. GATE_FAILED, WAIVER_NEEDED, CHANGED_NOT_SEEN, GOLDEN_DUE. */
  const checkGates = async (
    candidate: Candidate,
    waiver: string | null,
    seenChanged: readonly string[],
  ): Promise<GoldenResult | undefined> => {
    const evidence = await readEvidence(bundleDirOf(store.home, candidate.id));
    const model = candidate.id;
    const { gates: ofGolden, figures } = golden.decide(candidate);
    const gates = [...evidence.gates, ...ofGolden];
    const failed = gates.filter((gate) => gate.outcome === 'fail');
    if (failed.length > 0) throw new AppError('GATE_FAILED', { model, gates: namesOf(failed) });
    const thin = gates.filter((gate) => gate.outcome === 'not-enough-evidence');
    if (thin.length > 0 && (waiver === null || waiver.trim() === '')) {
      throw new AppError('WAIVER_NEEDED', { model, gates: namesOf(thin) });
    }
    const seen = new Set(seenChanged);
    const unseen = evidence.changed.filter((change) => change.kind === 'worse' && !seen.has(change.imageSha));
    if (unseen.length > 0) throw new AppError('CHANGED_NOT_SEEN', { model, count: unseen.length });
    return figures;
  };

  /** As it stands now: the account may have been disabled, or given another key, since its password was asked for. NOT_ALLOWED. */
  const checkSigner = ({ user: { id }, certificate }: Account): void => {
    const now = store.users.account(id);
    const { disabled = true, role } = now?.user ?? {};
    if (disabled || role !== 'supervisor' || now?.certificate.publicKey !== certificate.publicKey)
      throw new AppError('NOT_ALLOWED', { method: 'candidates.approve', roles: 'supervisor' });
  };

  const signNow: ApprovalService['approve'] = async (
    candidateId,
    { account, privateKey },
    { meaning, waiver, seenChanged },
  ) => {
    const candidate = store.candidates.get(candidateId);
    checkState(candidate);
    const figures = await checkGates(candidate, waiver, seenChanged);
    checkSigner(account);
    // A demo's own supervisor shows the whole loop alone.
    if (!store.demo) twoPersons.check(candidate, account.user.id);
    const bundleDir = bundleDirOf(store.home, candidateId);
    const signed = await signApproval({
      bundleDir,
      candidateId,
      stationId: candidate.stationId,
      demo: store.demo,
      meaning,
      waiver,
      golden: figures,
      at: context.now(),
      certificate: account.certificate,
      privateKey,
      bundleSha256: candidate.bundleSha256,
    });
    try {
      await nodeFiles.syncDirectory(bundleDir);
      // Proof before it is recorded: a certificate of another root key, say, would make an approval that nothing accepts.
      await checkBundle(candidate.stationId, candidateId);
      store.transaction(() => {
        checkState(store.candidates.get(candidateId));
        checkSigner(account);
        const { signatureId, userId, userName, at, golden: bound } = signed;
        store.candidates.setState(candidateId, 'approved');
        store.candidates.setApproval(candidateId, {
          signatureId,
          userId,
          userName,
          meaning,
          waiver,
          at,
          ...(bound && { golden: bound }),
        });
        store.audit.append({
          user: userName,
          action: 'candidates.approve',
          subject: candidateId,
          details: {
            signatureId,
            bundleSha256: signed.bundleSha256,
            meaning,
            waiver,
            seenChanged,
            twoPersons: twoPersons.rule(),
            ...(figures && { golden: figures.setSha256, goldenUse: figures.use }),
          },
        });
      });
    } catch (error) {
      await removeApproval(bundleDir);
      throw error;
    }
    context.emit('candidates.changed', { stationId: candidate.stationId });
    return store.candidates.get(candidateId);
  };

  const signing = createLane();
  /** One after the other: of two who sign at the same moment the second would take the first one's signature away with its own. */
  const approve: ApprovalService['approve'] = (...asked) => signing(() => signNow(...asked));

  /** Rows and entry of an activation; gives what was active before. */
  const record = (
    { candidateId, bundleSha256 }: ActiveModel,
    { stationId, kind, by }: { stationId: string; kind: 'activate' | 'rollback'; by: ActivatedBy },
  ): string | null =>
    store.transaction(() => {
      // Once more: it may have been rejected while it was measured here.
      checkApproved(candidateId);
      // And whoever wants it may have been disabled.
      if (store.users.get(by.userId)?.disabled !== false)
        throw new AppError('NOT_ALLOWED', { method: `models.${kind}`, roles: 'supervisor' });
      by.check?.();
      // So is whether it goes back: another model may have been made active meanwhile.
      if (!by.signature && !by.planSigned && decisions.isReturn(candidateId))
        throw new AppError('SIGNATURE_NEEDED', { model: candidateId });
      const before = store.stations.get(stationId).activeModelId;
      store.audit.append({
        user: by.name,
        action: kind === 'activate' ? 'models.activate' : 'models.rollback',
        subject: candidateId,
        details: { stationId, previous: before, bundleSha256, ...(by.signature && { signature: by.signature }) },
      });
      // Activated once more: its signature is made anew (active-models.ts), nothing else is another.
      if (before === candidateId) return before;
      const at = context.now().toISOString();
      if (before !== null) store.candidates.setState(before, 'retired');
      store.candidates.setState(candidateId, 'active');
      store.candidates.setActivatedAt(candidateId, at);
      store.stations.setActiveModel(stationId, candidateId);
      monitor.restart(stationId);
      revalidation.settle(stationId, by.name);
      store.candidates.recordActivation({ stationId, candidateId, previousId: before, kind, userId: by.userId, at });
      return before;
    });

  const activate: ApprovalService['activate'] = async (candidateId, kind, by) => {
    const { stationId } = store.candidates.get(candidateId);
    checkApproved(candidateId);
    const model = await checkBundle(stationId, candidateId);
    if (by.signature && by.signature.bundleSha256 !== model.bundleSha256)
      throw new AppError('BUNDLE_ALTERED', { file: bundleDirOf(store.home, candidateId) });
    // Back goes to what has inspected here already, and at once: a trainer that does not start must not keep a bad model on the line.
    if (kind === 'activate') requireSameHere(await recheck.measure(candidateId, by.name));
    const previous = await actives.exchange(stationId, model, by.name, async () => {
      let swapped = false;
      try {
        return await lines.activate(stationId, bundleDirOf(store.home, candidateId), () => {
          swapped = true;
          return record(model, { stationId, kind, by });
        });
      } catch (error) {
        // What is active is what the database says: a line does not stay with a model whose activation was not recorded (a full disk).
        if (swapped)
          await lines
            .reconfigure(stationId)
            .catch((cause: unknown) => log.error('line not set back to the active model', { stationId, error: cause }));
        throw error;
      }
    });
    log.info('model active', { stationId, candidateId, previous, kind });
    context.emit('candidates.changed', { stationId });
    context.emit('stations.changed', {});
    return { active: store.candidates.get(candidateId), previous };
  };

  /** Null where no approval is taken away. SIGNATURE_NEEDED, WRONG_PASSWORD, TOO_MANY_ATTEMPTS. */
  const signWithdrawal = async (
    { id: candidateId, state }: Candidate,
    { reason, password }: { reason: string; password: string | null },
    session: Session,
  ): Promise<DecisionSignature | null> => {
    if (state !== 'approved') return null;
    if (password === null) throw new AppError('SIGNATURE_NEEDED', { model: candidateId });
    return decisions.sign(session, { action: 'candidates.reject', candidateId, password, meaning: reason });
  };

  return {
    approve,
    activate,
    handlers: {
      async 'candidates.approve'({ candidateId, password, meaning, waiver, seenChanged }, session) {
        checkState(store.candidates.get(candidateId));
        // Signing asks for the person, not for the session that was left open.
        const signer = await accounts.unlock(userOf(session).name, password);
        return approve(candidateId, signer, { meaning, waiver, seenChanged });
      },
      async 'candidates.reject'({ candidateId, reason, password }, session) {
        const checkOpen = (): Candidate => {
          const candidate = store.candidates.get(candidateId);
          if (['candidate', 'submitted', 'approved'].includes(candidate.state)) return candidate;
          const { state } = candidate;
          throw new AppError('CONFLICT', { what: `candidate ${candidateId}`, state, needed: 'not yet active' });
        };
        const candidate = checkOpen();
        const signature = await signWithdrawal(candidate, { reason, password }, session);
        // The row first: a kill between the two leaves a signature that no row stands by (sweep.ts), never an approved model without one.
        store.transaction(() => {
          // Once more: it may have been activated, or approved, while the password was tried.
          if (checkOpen().state === 'approved' && signature === null)
            throw new AppError('SIGNATURE_NEEDED', { model: candidateId });
          store.candidates.setState(candidateId, 'rejected');
          store.candidates.setApproval(candidateId, null);
          store.candidates.setRejection(candidateId, {
            userName: actor(session),
            reason,
            at: context.now().toISOString(),
          });
          store.audit.append({
            user: actor(session),
            action: 'candidates.reject',
            subject: candidateId,
            details: { reason, ...(signature && { signature }) },
          });
        });
        await removeApproval(bundleDirOf(store.home, candidateId));
        await nodeFiles.syncDirectory(bundleDirOf(store.home, candidateId));
        context.emit('candidates.changed', { stationId: candidate.stationId });
        return store.candidates.get(candidateId);
      },
      async 'models.activate'({ candidateId, signature: given }, session) {
        const { id: userId, name } = userOf(session);
        checkApproved(candidateId);
        const signature = await decisions.signReturn(session, {
          action: 'models.activate',
          candidateId,
          signature: given,
        });
        return activate(candidateId, 'activate', { userId, name, signature });
      },
      async 'models.previous'({ stationId }) {
        const { activeModelId } = store.stations.get(stationId);
        return activeModelId && store.candidates.previousOf(stationId);
      },
      async 'models.rollback'({ stationId, signature: given, candidateId }, session) {
        const { id: userId, name } = userOf(session);
        const { activeModelId } = store.stations.get(stationId);
        if (activeModelId === null) throw new AppError('NO_ACTIVE_MODEL', { stationId });
        const previous = store.candidates.previousOf(stationId);
        if (previous === null) throw new AppError('NO_PREVIOUS_MODEL', { stationId });
        // Nobody signs for another model than the one that was shown.
        if (candidateId !== null && candidateId !== previous)
          throw new AppError('CONFLICT', { what: 'the model before', state: previous, needed: candidateId });
        const signature = await decisions.sign(session, { action: 'models.rollback', candidateId: previous, ...given });
        if (store.stations.get(stationId).activeModelId !== activeModelId)
          throw new AppError('CONFLICT', { what: `station ${stationId}`, state: 'changed', needed: activeModelId });
        return activate(previous, 'rollback', { userId, name, signature });
      },
    },
  };
};
