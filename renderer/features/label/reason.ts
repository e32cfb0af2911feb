import type { LabelItem } from './label-state.svelte.ts';
import { countText } from '../../lib/format.ts';
import { causeOf } from '../../lib/i18n/cause.ts';
import { language, t } from '../../lib/i18n/language.svelte.ts';

/** Why a part is in the queue, in words. @param name gives a class's name. */
export function reasonText({ part, reason, doubt }: LabelItem, name: (classId: string | null) => string): string {
  const { classId, secondClassId } = part.judgement;
  if (reason === 'suspect') return t('label.reason.suspect', { name: name(doubt?.classId ?? null) });
  if (reason !== 'low-margin') return t(`label.reason.${reason}`);
  return classId !== null && secondClassId !== null
    ? t('label.reason.low-margin', { a: name(classId), b: name(secondClassId) })
    : t('label.reason.doubtful');
}

/** The number behind the reason, for a row of the queue; empty where there is none. */
export function reasonFact({ part, reason, doubt }: LabelItem): string {
  const { novelty, margin } = part.judgement;
  if (reason === 'suspect' && doubt && doubt.copies > 0) return t('label.fact.copies', { n: doubt.copies });
  if (reason === 'novel') return t('label.fact.novelty', { value: novelty.toFixed(2) });
  return reason === 'low-margin' ? t('label.fact.margin', { value: margin.toFixed(2) }) : '';
}

/** @param name gives a class's name. */
export function reasonLong(
  { part, reason, doubt, suggestedClassId }: LabelItem,
  name: (classId: string | null) => string,
): string {
  const { novelty, noveltyLimit, margin, confidence, limit, verdict } = part.judgement;
  switch (reason) {
    case 'novel':
      return t('label.long.novel', { value: novelty.toFixed(2), limit: noveltyLimit.toFixed(2) });
    case 'low-margin':
      return t('label.long.low-margin', {
        value: margin.toFixed(2),
        confidence: confidence.toFixed(2),
        limit: limit.toFixed(2),
      });
    case 'sent':
      return t('label.long.sent', { verdict: t(`verdict.${verdict}`), confidence: confidence.toFixed(2) });
    case 'returned':
      return t('label.long.returned');
    case 'error': {
      const cause = causeOf(part.judgement.errorCode, countText(part.id, language.locale), language.now);
      return cause === null ? t('label.long.error') : `${cause.message} ${cause.nextAction}`;
    }
    case 'imported':
      return t('label.long.imported');
    case 'second':
      return t('label.long.second');
    case 'suspect': {
      const names = { name: name(doubt?.classId ?? null), other: name(suggestedClassId) };
      if (doubt && doubt.copies > 0) return t('label.long.suspectCopies', { ...names, n: doubt.copies });
      if (doubt?.by !== undefined) return t('label.long.suspectBy', { ...names, by: doubt.by });
      const [given, suggested] = [doubt?.given ?? 0, doubt?.suggested ?? 0];
      return t('label.long.suspect', { ...names, given: given.toFixed(2), suggested: suggested.toFixed(2) });
    }
  }
}
