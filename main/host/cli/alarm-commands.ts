import { format } from './output.ts';
import { numberOf, stationCommand, type ServedOption, type StationGroup } from './station-command.ts';

/** What the monitor of a station has raised. */
export const alarmCommands: StationGroup = {
  name: 'alarms',
  description: 'where a line left what it was when its model was activated',
  commands: [
    stationCommand({
      usage: 'list',
      description: 'newest first',
      signsIn: false,
      withOptions: (command) => command.option('--open', 'those that nobody has acknowledged'),
      run:
        ({ open = false }: ServedOption & { open?: boolean }) =>
        async ({ client, station }) => ({
          alarms: await client.call('alarms.list', { stationId: station.id, openOnly: open }),
        }),
      text: ({ alarms }) =>
        format.table([
          ['id', 'at', 'measure', 'part', 'model', 'acknowledged'],
          ...alarms.map(({ id, at, measure, partId, modelId, acknowledged }) => [
            id,
            at,
            measure,
            partId,
            modelId,
            acknowledged ? `${acknowledged.by}, ${acknowledged.at}` : '-',
          ]),
        ]),
    }),
    stationCommand({
      usage: 'acknowledge <id>',
      description: 'you have seen it and look into it; until then the same measure raises no other',
      signsIn: true,
      run(_options, id) {
        const alarmId = numberOf('alarm', id!);
        return ({ client }) => client.call('alarms.acknowledge', { alarmId });
      },
      text: ({ id, measure, acknowledged }) => `Alarm ${id} (${measure}) is acknowledged by ${acknowledged?.by}.`,
    }),
  ],
};
