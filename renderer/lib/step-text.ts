import type { Job } from '../../main/contract/domain.ts';
import { t, tOr } from './i18n/language.svelte.ts';

/** What a job is doing: its step in the window's language, with "3 of 18" where the core counts. */
export function stepText({ kind, step }: Job): string {
  const { key, details } = step;
  // A step without a text of its own has that of any job ("compress.done"), or at least the job's name.
  const general = tOr(`step.${key.split('.').at(-1) ?? key}`, t(`job.kind.${kind}`));
  const { done, total } = details;
  const parts = [tOr(`step.${key}`, general, details)];
  if (done !== undefined && total !== undefined) parts.push(t('step.of', { done, total }));
  return parts.join(' · ');
}
