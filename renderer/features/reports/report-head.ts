import type { AppState } from '../../app/app-state.svelte.ts';
import { dateTimeText, zoneText } from '../../lib/format.ts';
import { t } from '../../lib/i18n/language.svelte.ts';

/** What a report is about; times are ISO 8601. */
export interface ReportAbout {
  from: string;
  to: string;
  /** Models that judged, in words; empty: none did. */
  models: string[];
  /** When its figures were read. */
  madeAt: string;
}

/** Lines above a report that leaves the program, on paper or as a file: what it covers, and that a demo is one. Name and value each. */
export function reportHead(
  { session, station }: Pick<AppState, 'session' | 'station'>,
  { from, to, models, madeAt }: ReportAbout,
): [name: string, value: string][] {
  return [
    ...(session?.demo ? [[t('shell.demo'), t('reports.demoMark')] as [string, string]] : []),
    [t('reports.station'), station?.name ?? '–'],
    [t('reports.period'), `${dateTimeText(from)} – ${dateTimeText(to)}`],
    [t('reports.models'), models.length > 0 ? models.join(', ') : '–'],
    [t('reports.zone'), zoneText(from, to)],
    [t('reports.madeAt'), dateTimeText(madeAt)],
  ];
}

/** Name of a file without its ending: that of a demo says so too. */
export const reportName = ({ session }: Pick<AppState, 'session'>, name: string): string =>
  session?.demo ? `mekiki-DEMO-${name}` : `mekiki-${name}`;
