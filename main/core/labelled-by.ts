import { z } from 'zod';
import type { Candidate } from '../contract/domain.ts';
import type { Store } from '../store/open.ts';
import type { CoreContext, HandlersOf } from './context.ts';

/** Parts by user id. */
const countsSchema = z.record(z.string(), z.number());

interface Labellers {
  /** Labelled parts by user id. */
  parts: Readonly<Record<string, number>>;
  /**
   * `learnt`: as it was when the candidate's knowledge learnt them. `now`: its update was made by a version that did not note it, so what the station's newest knowledge
   * learnt stands for it. `elsewhere`: it was learnt in another installation, and nobody here labelled for it.
   */
  source: 'learnt' | 'now' | 'elsewhere';
}

type Facts = Pick<CoreContext, 'store' | 'keys'>;

/** A bundle that left this home and came back is the model that it was. */
export const asMade = ({ store, keys }: Facts, candidate: Candidate): Candidate => {
  const { origin } = candidate;
  const ours = origin?.installation === keys.installation && store.candidates.ids().includes(origin.candidateId);
  return ours ? asMade({ store, keys }, store.candidates.get(origin.candidateId)) : candidate;
};

/** Parts by user id, of who gave the label of each. */
export const countByUser = (userIds: Iterable<string>): Record<string, number> => {
  const parts: Record<string, number> = {};
  for (const userId of userIds) parts[userId] = (parts[userId] ?? 0) + 1;
  return parts;
};

/**
 * Counts who labelled a station's pictures, by who gave each label when this was called: while something is at work, labels are taken away and given by others.
 * @returns takes sha256 of pictures, each once
 */
export const giversAt = (store: Store, stationId: string) => {
  const givers = new Map(store.labels.list(stationId).map(({ imageSha, userId }) => [imageSha, userId]));
  return (shas: Iterable<string>) => countByUser([...shas].flatMap((sha) => givers.get(sha) ?? []));
};

/** Of a station's own pictures and of what it took in, together. */
export const addCounts = (counts: readonly Readonly<Record<string, number>>[]): Record<string, number> => {
  const sum: Record<string, number> = {};
  for (const [userId, parts] of counts.flatMap(Object.entries<number>)) sum[userId] = (sum[userId] ?? 0) + parts;
  return sum;
};

/** Whose labels the knowledge learnt that this candidate was made of: labels given or taken away since are not in it. */
export const labellersOf = (facts: Facts, candidate: Candidate): Labellers => {
  const { store } = facts;
  const { stationId, knowledgeId } = asMade(facts, candidate);
  const update = store.audit.last('knowledge.update', knowledgeId);
  if (update === null) return { parts: {}, source: 'elsewhere' };
  const noted = countsSchema.safeParse(update.details['labelledBy']);
  if (noted.success) return { parts: noted.data, source: 'learnt' };
  return { parts: Object.fromEntries(store.labels.learntByUser(stationId)), source: 'now' };
};

/** What whoever signs is shown, and two-persons.ts judges by. */
export const createLabelledByService = (facts: Facts): { handlers: HandlersOf<'candidates.labelledBy'> } => ({
  handlers: {
    async 'candidates.labelledBy'({ candidateId }) {
      const { store } = facts;
      const { parts, source } = labellersOf(facts, store.candidates.get(candidateId));
      const people = Object.entries(parts)
        .map(([userId, n]) => ({ name: store.users.get(userId)?.name ?? userId, parts: n }))
        .sort((a, b) => b.parts - a.parts);
      return { source, people };
    },
  },
});
