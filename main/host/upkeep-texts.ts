import type { HomeCheck } from '../core/home-check.ts';
import type { restoreBackup } from '../core/restore.ts';

/* What restoring and checking a home tell, on the command line and in the installed program. */

export const restoreProgress = (done: number, of: number): string => `restore: ${done} of ${of} files`;
export const checkProgress = (done: number, of: number): string => `check: ${done} of ${of} pictures`;

export const restoreText = (
  home: string,
  { head, entries, bytes }: Awaited<ReturnType<typeof restoreBackup>>,
): string => `${home} is as it was at ${head.at}: ${entries} files, ${bytes} bytes.`;

/** What was found, and what to do about it. */
export const checkText = ({ problems, repair, pictures }: HomeCheck): string =>
  [
    problems.length === 0 ? 'The database is whole.' : `The database is damaged: ${problems.join('; ')}.`,
    ...(repair === null
      ? problems.length === 0
        ? []
        : [
            'Run "mekiki --check --repair" (on the command line "check --repair"), or restore a backup into another folder.',
          ]
      : [
          `What could be read is in a new database; the damaged file is in ${repair.kept}.`,
          ...repair.tables.map(
            ({ name, read, dangling }) => `${name}: ${read} rows could be read, ${dangling} named a lost one.`,
          ),
          'Verify the audit trail next, in the window or with "audit verify": it tells whether an entry is lost.',
        ]),
    pictures === null
      ? 'No picture was looked at: the database names them.'
      : `${pictures.whole} pictures are whole, ${pictures.damagedInAll} are damaged, ${pictures.missing} are no longer kept.`,
    ...(pictures !== null && pictures.damagedInAll > 0
      ? ['Take the damaged ones from a backup, or label other parts in their place.']
      : []),
  ].join('\n');
