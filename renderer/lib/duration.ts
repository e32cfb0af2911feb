import { durationOf } from './format.ts';
import { t } from './i18n/language.svelte.ts';

/** "18 min 50 s", in the window's language. */
export function durationText(seconds: number): string {
  const { hours, minutes, seconds: rest } = durationOf(seconds);
  if (hours > 0) return t('time.hours', { h: hours, m: minutes });
  if (minutes > 0) return t('time.minutes', { m: minutes, s: rest });
  return t('time.seconds', { n: rest });
}
