import type { Job } from '../../main/contract/domain.ts';
import { t, tOr } from './i18n/language.svelte.ts';

/** What a job is doing: its step in the window's language, with "3 of 18" where the core counts. */
export function stepText(job: Job): string {
  const { key, details } = job.step;
  const what = tOr(key.startsWith('step.') ? key : `step.${key}`, t(`job.kind.${job.kind}`));
  const filled = what.replace(/\{(\w+)\}/g, (whole, name: string) => (name in details ? String(details[name]) : whole));
  const { done, total, candidate } = details;
  const parts = [filled];
  if (candidate !== undefined) parts.unshift(String(candidate));
  if (done !== undefined && total !== undefined) parts.push(t('step.of', { done, total }));
  return parts.join(' · ');
}
