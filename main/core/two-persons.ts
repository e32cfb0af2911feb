import type { Candidate } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { approvalRuleSchema } from '../contract/methods.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { asMade, labellersOf } from './labelled-by.ts';

/*
 * Four eyes: who gave most of a model's labels, started its update or made it, is not the one to approve it. `auto` asks for it where there is somebody else who could;
 * `always` also where there is nobody, who has to be added first; `never` leaves it to the plant's own rules. Which of them holds is in every approval's audit entry.
 */
export interface TwoPersons {
  handlers: HandlersOf<'candidates.approvalRule' | 'candidates.setApprovalRule'>;
  /** TWO_PERSONS. */
  check(candidate: Candidate, userId: string): void;
  rule(): 'auto' | 'always' | 'never';
}

const SETTING = 'approval.twoPersons';

export const createTwoPersons = (context: CoreContext): TwoPersons => {
  const { store } = context;
  const rule = () => approvalRuleSchema.catch('auto').parse(store.settings.get(SETTING));
  const others = (userId: string): string[] =>
    store.users
      .list()
      .filter(({ id, role, disabled }) => id !== userId && role === 'supervisor' && !disabled)
      .map(({ name }) => name);

  const tookPart = (candidate: Candidate, userId: string): boolean => {
    const { id, stationId, knowledgeId } = asMade(context, candidate);
    const update = store.audit.last('knowledge.update', knowledgeId);
    const { parts } = labellersOf(context, candidate);
    const all = Object.values(parts).reduce((sum, n) => sum + n, 0);
    const name = store.users.get(userId)?.name;
    return (
      (parts[userId] ?? 0) * 2 > all ||
      update?.user === name ||
      store.audit.last('candidates.create', stationId, id)?.user === name
    );
  };

  return {
    rule,
    check(candidate, userId) {
      const now = rule();
      const able = others(userId);
      if (now === 'never' || (now === 'auto' && able.length === 0)) return;
      if (!tookPart(candidate, userId)) return;
      const who = able.length > 0 ? able.join(', ') : '-';
      throw new AppError('TWO_PERSONS', { model: candidate.id, who });
    },
    handlers: {
      'candidates.approvalRule': async () => ({ twoPersons: rule() }),
      async 'candidates.setApprovalRule'({ twoPersons }, session) {
        const before = rule();
        store.transaction(() => {
          store.settings.set(SETTING, twoPersons);
          store.audit.append({
            user: actor(session),
            action: 'candidates.setApprovalRule',
            subject: 'two persons',
            details: { before, after: twoPersons },
          });
        });
        context.emit('settings.changed', {});
        return { twoPersons };
      },
    },
  };
};
