import { randomUUID } from 'node:crypto';
import { signBody, type Certificate } from '../audit/keys.ts';
import { AppError } from '../contract/errors.ts';
import type { Accounts } from './accounts.ts';
import { userOf, type CoreContext } from './context.ts';
import type { Session } from './port.ts';

/** Purpose of the signature (signBody). */
export const DECISION = 'mekiki decision 1';

/** What a supervisor signs. */
interface Decision {
  /** The action of its entry in the trail. */
  action: 'models.rollback' | 'models.activate' | 'models.plan' | 'candidates.reject';
  candidateId: string;
  password: string;
  /** What the signature stands for, or why. */
  meaning: string;
}

/** As it stands in the decision's entry of the trail, with all that proves it beside the home's root key. */
export interface DecisionSignature {
  signatureId: string;
  action: Decision['action'];
  stationId: string;
  candidateId: string;
  bundleSha256: string;
  meaning: string;
  at: string;
  certificate: Certificate;
  /** Over all of the above, by the key that the certificate names. */
  signature: string;
}

/**
 * Decisions beside an approval that a person signs with the password, as an approval is: the session that was left open is not enough. First use of an approved model
 * needs none, for its approval is the signature of just that; going back to an earlier model, and taking a given approval away, do.
 */
export interface SignedDecisions {
  /** Whether it inspected at its station before and does not now, by the trail: a row of the database must not save a signature. */
  isReturn(candidateId: string): boolean;
  /** WRONG_PASSWORD, TOO_MANY_ATTEMPTS, ACCOUNT_ALTERED, NOT_ALLOWED. */
  sign(session: Session, decision: Decision): Promise<DecisionSignature>;
  /** As sign, where it is a return; null where it is none. SIGNATURE_NEEDED. */
  signReturn(
    session: Session,
    decision: Pick<Decision, 'action' | 'candidateId'> & { signature: { password: string; meaning: string } | null },
  ): Promise<DecisionSignature | null>;
}

export const createSignedDecisions = (
  { store, now }: CoreContext,
  accounts: Pick<Accounts, 'unlock'>,
): SignedDecisions => {
  const isReturn = (candidateId: string): boolean => {
    const { stationId } = store.candidates.get(candidateId);
    const inspected =
      store.audit.last('models.activate', candidateId) ?? store.audit.last('models.rollback', candidateId);
    return inspected !== null && store.audit.lastActivated(stationId) !== candidateId;
  };
  const sign: SignedDecisions['sign'] = async (session, { action, candidateId, password, meaning }) => {
    const { account, privateKey } = await accounts.unlock(userOf(session).name, password);
    if (account.user.role !== 'supervisor') throw new AppError('NOT_ALLOWED', { method: action, roles: 'supervisor' });
    const { stationId, bundleSha256 } = store.candidates.get(candidateId);
    const body = {
      signatureId: `sig-${randomUUID()}`,
      action,
      stationId,
      candidateId,
      bundleSha256,
      meaning,
      at: now().toISOString(),
      certificate: account.certificate,
    };
    return { ...body, signature: signBody(DECISION, body, privateKey) };
  };
  return {
    isReturn,
    sign,
    async signReturn(session, { action, candidateId, signature }) {
      if (!isReturn(candidateId)) return null;
      if (signature === null) throw new AppError('SIGNATURE_NEEDED', { model: candidateId });
      return sign(session, { action, candidateId, ...signature });
    },
  };
};
