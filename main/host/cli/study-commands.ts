import type { Study, StudyReport } from '../../contract/study.ts';
import { AppError } from '../../contract/errors.ts';
import type { CoreClient } from './accounts.ts';
import { wholeNumber } from './context.ts';
import { format } from './output.ts';
import { stationCommand, type At, type ServedOption, type StationGroup } from './station-command.ts';

interface CreateOptions extends ServedOption {
  parts: number;
  rounds: number;
}

/** By id or name. @throws NOT_FOUND */
async function studyOf({ client, station }: Pick<At, 'client' | 'station'>, asked: string): Promise<Study> {
  const studies = await client.call('studies.list', { stationId: station.id });
  const found = studies.find(({ id }) => id === asked) ?? studies.find(({ name }) => name === asked);
  if (!found) throw new AppError('NOT_FOUND', { kind: 'study', id: asked });
  return found;
}

const reportOf = async (client: CoreClient, study: Study): Promise<StudyReport | null> =>
  study.closedAt === null ? null : client.call('studies.report', { studyId: study.id });

const stateOf = ({ raters, closedAt }: Study): string =>
  closedAt !== null
    ? `closed ${closedAt}`
    : raters.map(({ name, done, of }) => `${name} ${done}/${of}`).join(', ') || 'nobody has begun';

const told = ({ study, report }: { study: Study; report: StudyReport | null }): string =>
  [
    `${study.id} (${study.name}): ${study.parts} parts, ${study.goodParts} of them good, ${study.rounds} rounds; ${stateOf(study)}`,
    ...(report
      ? [
          format.table([
            ['', 'right', 'escaped', 'overkilled', 'kappa'],
            ...report.raters.map(({ name, right, escape, overkill, kappa }) => [
              name ?? 'the model',
              ...[right, escape, overkill].map(({ count, of }) => `${count}/${of}`),
              kappa.kappa?.toFixed(2) ?? '-',
            ]),
          ]),
        ]
      : []),
  ].join('\n');

/** Acceptance studies; people judge in the window, where they see the parts. */
export const studyCommands: StationGroup = {
  name: 'studies',
  description: 'how well people and the model judge the same parts, blind',
  commands: [
    stationCommand({
      usage: 'list',
      description: 'newest first',
      signsIn: false,
      run:
        () =>
        async ({ client, station }) => ({ studies: await client.call('studies.list', { stationId: station.id }) }),
      text: ({ studies }) =>
        format.table([
          ['id', 'name', 'made', 'parts', 'rounds', 'state'],
          ...studies.map((study) => [study.id, study.name, study.createdAt, study.parts, study.rounds, stateOf(study)]),
        ]),
    }),
    stationCommand({
      usage: 'create <name>',
      description: 'draw labelled parts, half of them good as far as there are; people judge them in the window',
      signsIn: true,
      withOptions: (command) =>
        command
          .option('--parts <n>', 'that each person judges', wholeNumber(10, 300), 50)
          .option('--rounds <n>', 'in which each person judges all of them', wholeNumber(1, 5), 2),
      run:
        ({ parts, rounds }: CreateOptions, name) =>
        async ({ client, station }) => ({
          study: await client.call('studies.create', { stationId: station.id, name: name!, parts, rounds }),
          report: null,
        }),
      text: told,
    }),
    stationCommand({
      usage: 'show <study>',
      description: 'by its id or name; the report once it is closed',
      signsIn: false,
      run: (_options, asked) => async (at) => {
        const study = await studyOf(at, asked!);
        return { study, report: await reportOf(at.client, study) };
      },
      text: told,
    }),
    stationCommand({
      usage: 'close <study>',
      description: 'no more judgements: there is a report now',
      signsIn: true,
      run: (_options, asked) => async (at) => {
        const study = await at.client.call('studies.close', { studyId: (await studyOf(at, asked!)).id });
        return { study, report: await reportOf(at.client, study) };
      },
      text: told,
    }),
  ],
};
