import { resolve } from 'node:path';
import { Argument, type Command } from 'commander';
import type { MethodOutput } from '../../contract/methods.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { followJob } from './jobs.ts';
import {
  atStation,
  signedIn,
  stationOf,
  withAccount,
  withStation,
  withUser,
  type StationOption,
  type UserOption,
} from './station-option.ts';

/** Images that judge and never teach. */
export function addGoldenCommands(program: Command, action: Action): void {
  const golden = program.command('golden').description('images that judge models and are never learnt');
  withStation(golden.command('show')).action(
    action(async (context: Context, options: StationOption) => {
      await withCore(context, async (client) => {
        const station = await stationOf(client, options);
        const set = await client.call('golden.show', { stationId: station.id });
        context.out.result({ golden: set }, () =>
          set === null
            ? 'This station has no golden set.'
            : `${set.images} images, used ${set.uses} times.${set.refreshDue ? ' Refresh it: golden refresh.' : ''}`,
        );
      });
    }),
  );
  withUser(golden.command('add <dir>').description('take <dir>/<class>/* in, for good')).action(
    action(async (context: Context, dir: string, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const job = await client.call('golden.add', { stationId: station.id, path: resolve(dir) });
        const done = await followJob(context, client, job);
        const set = await client.call('golden.show', { stationId: station.id });
        context.out.result({ golden: set, skipped: done.skipped ?? [] }, () =>
          [
            ...(done.skipped ?? []).map(({ message }) => message),
            `${set?.images ?? 0} images are in the golden set.`,
          ].join('\n'),
        );
      });
    }),
  );
  withAccount(
    golden.command('try <id>').description('judge the golden set with a candidate; every use is counted'),
  ).action(
    action(async (context: Context, candidateId: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        await followJob(context, client, await client.call('candidates.golden', { candidateId }));
        const { golden: result } = await client.call('candidates.show', { candidateId });
        context.out.result(
          { id: candidateId, ...result },
          () =>
            `${result?.images} images: ${result?.escape.wrong} of ${result?.escape.parts} escaped, ` +
            `${result?.overkill.wrong} of ${result?.overkill.parts} overkilled; use ${result?.use} of the set.`,
        );
      });
    }),
  );
  withUser(
    golden
      .command('fill')
      .description('whether 30 % of newly labelled parts go to the set with each update, in place of being learnt')
      .addArgument(new Argument('[choice]', 'none: tells what the next update would do').choices(['on', 'off'])),
  ).action(
    action(async (context: Context, choice: 'on' | 'off' | undefined, options: UserOption) => {
      const tell = (filling: MethodOutput<'golden.filling'>) =>
        context.out.result({ filling }, () =>
          [
            filling.on ? 'On: a share of new labels judges, and is not learnt.' : 'Off: all new labels are learnt.',
            ...filling.perClass.flatMap(({ classId, fresh, most, few }) =>
              fresh > 0 ? [`${classId}: ${few ? 'below ten parts, none' : `at most ${most}`} of ${fresh} new`] : [],
            ),
          ].join('\n'),
        );
      if (choice === undefined) {
        await withCore(context, async (client) => {
          const station = await stationOf(client, options);
          tell(await client.call('golden.filling', { stationId: station.id }));
        });
        return;
      }
      await atStation(context, options, async (client, station) => {
        tell(await client.call('golden.setFilling', { stationId: station.id, on: choice === 'on' }));
      });
    }),
  );
  withUser(
    golden.command('refresh').description('retire the set: its images are learnt next, and a new set is filled'),
  ).action(
    action(async (context: Context, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const result = await client.call('golden.refresh', { stationId: station.id });
        context.out.result(
          result,
          () => `${result.returned} images will be learnt with the next update; ${result.left} are left out.`,
        );
      });
    }),
  );
}
