import { classNames, knownClass } from './classes.ts';
import { wholeNumber } from './context.ts';
import { format } from './output.ts';
import { numberOf, stationCommand, type ServedOption, type StationGroup } from './station-command.ts';

/** What a second person takes labelled parts for, without seeing the first label. */
export const secondLabelCommands: StationGroup = {
  name: 'second-labels',
  description: 'second opinions on labelled parts, blind',
  commands: [
    stationCommand({
      usage: 'list',
      description: 'parts that wait for your second opinion',
      signsIn: true,
      withOptions: (command) => command.option('--limit <n>', 'at most', wholeNumber(1, 500), 100),
      run:
        ({ limit }: ServedOption & { limit: number }) =>
        ({ client, station }) =>
          client.call('labels.secondQueue', { stationId: station.id, limit }),
      text: ({ total, parts }) =>
        [
          format.table([['part', 'at', 'image'], ...parts.map((part) => [part.partId, part.at, part.imageSha ?? '-'])]),
          `${total} wait.`,
        ].join('\n'),
    }),
    stationCommand({
      usage: 'give <part> <class>',
      description: 'what you take the part for; where the first label differs, the part comes back into the queue',
      signsIn: true,
      run(_options, part, name) {
        const partId = numberOf('part', part!);
        return async ({ client }) => {
          const classId = await knownClass(client, name!);
          const nameOf = await classNames(client);
          const { agrees, firstClassId } = await client.call('labels.second', { partId, classId });
          return { partId, classId, agrees, firstClassId, firstClassName: nameOf(firstClassId) };
        };
      },
      text: ({ partId, agrees, firstClassName }) =>
        `Part ${partId}: ${agrees ? 'as the first label' : `the first label is ${firstClassName}`}.`,
    }),
    stationCommand({
      usage: 'agreement',
      description: 'how far first and second labels agree',
      signsIn: true,
      run:
        () =>
        ({ client, station }) =>
          client.call('labels.agreement', { stationId: station.id }),
      text: ({ waiting, same, kappa }) =>
        `${same.count} of ${same.of} the same; kappa ${kappa?.toFixed(2) ?? '-'}; ${waiting} wait for you.`,
    }),
  ],
};
