import type { QueueItem } from '../../../main/contract/domain.ts';
import { t } from '../../lib/i18n/language.svelte.ts';

/** Why a part is in the queue, in words. @param name gives a class's name. */
export function reasonText({ part, reason }: QueueItem, name: (classId: string | null) => string): string {
  const { classId, secondClassId } = part.judgement;
  if (reason !== 'low-margin') return t(`label.reason.${reason}`);
  return classId !== null && secondClassId !== null
    ? t('label.reason.low-margin', { a: name(classId), b: name(secondClassId) })
    : t('label.reason.doubtful');
}

/** The number behind the reason, for a row of the queue; empty where there is none. */
export function reasonFact({ part, reason }: QueueItem): string {
  const { novelty, margin } = part.judgement;
  if (reason === 'novel') return t('label.fact.novelty', { value: novelty.toFixed(2) });
  return reason === 'low-margin' ? t('label.fact.margin', { value: margin.toFixed(2) }) : '';
}

export function reasonLong({ part, reason }: QueueItem): string {
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
    case 'error':
      return t('label.long.error');
    case 'imported':
      return t('label.long.imported');
  }
}
