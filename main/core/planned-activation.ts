import { z } from 'zod';
import { signBody, verifyBody } from '../audit/keys.ts';
import { plannedActivationSchema, type PlannedActivation } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { Accounts } from './accounts.ts';
import type { ApprovalService } from './approval.ts';
import { userOf, type CoreContext, type HandlersOf } from './context.ts';
import type { SignedDecisions } from './signed-decisions.ts';
import { toldProblem } from './told-problem.ts';

/** An activation that is later than this does not come about any more: whoever planned it for the change of shifts is not there. */
const LATE_AT_MOST_MS = 15 * 60_000;
/** The clock may be set while a plan waits. */
const LOOK_EVERY_MS = 5_000;

const PLAN = 'mekiki planned activation 1';
/** As it waits in the database: whoever writes a row there must not be able to plan. */
const storedSchema = plannedActivationSchema.extend({ signature: z.string().default('') });
type Stored = z.output<typeof storedSchema>;

/** A model becomes active at a time that a supervisor has set. */
export interface PlannedActivations {
  handlers: HandlersOf<'models.plan' | 'models.planned'>;
  /** Carries out what is due, now and from now on. */
  start(): void;
  close(): Promise<void>;
}

export const createPlannedActivations = (
  context: CoreContext,
  approvals: Pick<ApprovalService, 'activate'>,
  accounts: Pick<Accounts, 'refuseAltered'>,
  decisions: Pick<SignedDecisions, 'signReturn'>,
): PlannedActivations => {
  const { store, keys, log, now } = context;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> = Promise.resolve();
  let closed = false;

  const keyOf = (stationId: string): string => `models.planned:${stationId}`;
  /** What the home's key signs of a plan: all but what became of it. */
  const bodyOf = (stationId: string, { candidateId, at, userId, userName, plannedAt }: PlannedActivation) => ({
    stationId,
    candidateId,
    at,
    userId,
    userName,
    plannedAt,
  });
  const stored = (stationId: string): Stored | null =>
    storedSchema
      .nullable()
      .catch(null)
      .parse(store.settings.get(keyOf(stationId)) ?? null);
  /** Stores a plan, or that there is none, with its entry of the trail. */
  const note = (
    stationId: string,
    plan: Stored | null,
    entry: { user: string; action: string; subject: string; details: Record<string, unknown> },
  ): void => {
    store.transaction(() => {
      store.settings.set(keyOf(stationId), plan);
      store.audit.append({ ...entry, details: { stationId, ...entry.details } });
    });
    context.emit('candidates.changed', { stationId });
  };
  /** null as well once a model was made active after it was planned: a person has decided otherwise. After, by the trail: a clock may be set back in between. */
  const planOf = (stationId: string): Stored | null => {
    const plan = stored(stationId);
    const { activeModelId } = store.stations.get(stationId);
    if (plan === null || activeModelId === null) return plan;
    const planned = store.audit.last('models.plan', plan.candidateId)?.n ?? 0;
    return store.audit.lastExchange(stationId) > planned || activeModelId === plan.candidateId ? null : plan;
  };

  /** Not taken back, replaced or made void since: by its signature, which is over all that a plan says. */
  const stillWaits = (stationId: string, plan: Stored): boolean => planOf(stationId)?.signature === plan.signature;

  const carryOut = async (stationId: string, plan: Stored): Promise<void> => {
    const { candidateId, at, userId, userName } = plan;
    const check = () => {
      if (!stillWaits(stationId, plan))
        throw new AppError('CONFLICT', { what: `the plan of ${candidateId}`, state: 'void', needed: 'one that waits' });
    };
    try {
      // Others may have been carried out before it, which takes a while.
      check();
      const lateMs = now().getTime() - Date.parse(at);
      if (lateMs > LATE_AT_MOST_MS) throw new AppError('ACTIVATION_MISSED', { model: candidateId, at });
      if (!verifyBody(PLAN, bodyOf(stationId, plan), plan.signature, keys.rootPublicKey())) {
        const problem = 'its plan is not the one that a supervisor made here';
        throw new AppError('NOT_APPROVED', { model: candidateId, problem });
      }
      const account = store.users.account(userId);
      if (account === null || account.user.disabled || account.user.role !== 'supervisor') {
        throw new AppError('NOT_ALLOWED', { method: 'models.activate', roles: 'supervisor' });
      }
      accounts.refuseAltered(account);
      // By the trail, as everything that saves a signature: the plan's newest entry for this model is that of this plan.
      const planSigned = store.audit.last('models.plan', candidateId)?.details['signature'] !== undefined;
      await approvals.activate(candidateId, 'activate', { userId, name: userName, planSigned, check });
      if (stored(stationId)?.signature !== plan.signature) return;
      store.settings.set(keyOf(stationId), null);
      context.emit('candidates.changed', { stationId });
    } catch (error) {
      // Cut short by the end of the program: its next start may still be in time.
      if (closed || !stillWaits(stationId, plan)) return;
      const problem = toldProblem(context, error, 'planned activation');
      log.warn('planned activation did not come about', { stationId, candidateId, at, code: problem.code });
      note(
        stationId,
        { ...plan, problem },
        { user: userName, action: 'models.planFailed', subject: candidateId, details: { at, code: problem.code } },
      );
    }
  };

  const waiting = (): { stationId: string; plan: Stored }[] =>
    store.stations.list().flatMap(({ id }) => {
      const plan = planOf(id);
      return plan === null || plan.problem !== null ? [] : [{ stationId: id, plan }];
    });

  const look = async (): Promise<void> => {
    for (const { stationId, plan } of waiting())
      if (!closed && Date.parse(plan.at) <= now().getTime()) await carryOut(stationId, plan);
  };
  const setTimer = (): void => {
    clearTimeout(timer);
    if (closed) return;
    const due = Math.min(...waiting().map(({ plan }) => Date.parse(plan.at) - now().getTime()));
    if (due === Infinity) return;
    // What is still due after a look could not even be noted: not at once again.
    timer = setTimeout(lookInTurn, due <= 0 ? LOOK_EVERY_MS : Math.min(LOOK_EVERY_MS, due));
    timer.unref();
  };
  const lookInTurn = (): void => {
    looking = looking
      .then(look)
      .finally(setTimer)
      .catch((error: unknown) => log.error('planned activation not noted', { error }));
  };

  return {
    handlers: {
      async 'models.planned'({ stationId }) {
        store.stations.get(stationId);
        const plan = planOf(stationId);
        return plan && plannedActivationSchema.parse(plan);
      },
      async 'models.plan'({ stationId, activation }, session) {
        const { id: userId, name: user } = userOf(session);
        store.stations.get(stationId);
        const before = planOf(stationId);
        if (activation === null) {
          if (before === null) return null;
          const { candidateId: subject, at } = before;
          note(stationId, null, { user, action: 'models.unplan', subject, details: { at } });
          return null;
        }
        const { candidateId, at, signature: given } = activation;
        const candidate = store.candidates.get(candidateId);
        if (candidate.stationId !== stationId) throw new AppError('NOT_FOUND', { kind: 'candidate', id: candidateId });
        if (!['approved', 'retired'].includes(candidate.state)) {
          throw new AppError('NOT_APPROVED', { model: candidateId, problem: `its state is "${candidate.state}"` });
        }
        if (Date.parse(at) <= now().getTime()) {
          throw new AppError('INVALID_INPUT', { what: 'models.plan', problem: `${at} has passed` });
        }
        // Signed now, by whoever plans: nobody need be there at its time.
        const signed = await decisions.signReturn(session, { action: 'models.plan', candidateId, signature: given });
        const plan = { candidateId, at, userId, userName: user, plannedAt: now().toISOString(), problem: null };
        const signature = signBody(PLAN, bodyOf(stationId, plan), keys.signing);
        const details = { at, before: before?.candidateId ?? null, ...(signed && { signature: signed }) };
        note(stationId, { ...plan, signature }, { user, action: 'models.plan', subject: candidateId, details });
        setTimer();
        return plan;
      },
    },
    start: lookInTurn,
    async close() {
      closed = true;
      clearTimeout(timer);
      await looking;
    },
  };
};
