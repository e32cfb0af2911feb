import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { roleSchema, surfaceSchema, type Surface } from '../../contract/domain.ts';
import { decimalNumber, namedFolder, wholeNumber, type Action, type Context } from './context.ts';
import { withCore } from './core-client.ts';
import { format, UsageError } from './output.ts';
import { addPasswordCommands } from './password-commands.ts';
import { signedIn, stationOf, withAccount, type UserOption } from './station-option.ts';
import { readCode, readNewPassword } from './terminal.ts';

interface StationChanges extends UserOption {
  name?: string;
  folder?: string;
  backbone?: string;
  maxLatencyMs?: number;
  maxEscape?: number;
  maxOverkill?: number;
  maxDropPp?: number;
  revalidateDays?: number;
}

/** Accounts and stations of a data folder. */
export function addAccountCommands(program: Command, action: Action): void {
  const users = program.command('users').description('accounts of this data folder');
  withAccount(users.command('list')).action(
    action(async (context: Context, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        const list = await client.call('users.list', {});
        context.out.result({ users: list }, () =>
          format.table([
            ['id', 'name', 'role', 'state'],
            ...list.map((u) => [u.id, u.name, u.role, u.disabled ? 'disabled' : 'enabled']),
          ]),
        );
      });
    }),
  );
  withAccount(
    users
      .command('add <name>')
      .description('its password from MEKIKI_NEW_PASSWORD or the terminal')
      .requiredOption('--role <role>', roleSchema.options.join(', '))
      .option('--one-time', 'its owner has to choose another password before anything else'),
  ).action(
    action(async (context: Context, name: string, options: UserOption & { role: string; oneTime?: boolean }) => {
      const role = roleSchema.safeParse(options.role);
      if (!role.success) throw new UsageError('--role', `give one of ${roleSchema.options.join(', ')}`);
      await signedIn(context, options, async (client) => {
        const password = await readNewPassword(name);
        const user = await client.call('users.add', {
          name,
          role: role.data,
          password,
          oneTime: options.oneTime === true,
        });
        context.out.result({ user }, () => `${name} was added as ${role.data}.`);
      });
    }),
  );
  withAccount(
    users
      .command('code <id>')
      .description('badge or PIN of an operator, from MEKIKI_CODE or the terminal')
      .option('--none', 'take it away'),
  ).action(
    action(async (context: Context, userId: string, options: UserOption & { none?: boolean }) => {
      await signedIn(context, options, async (client) => {
        const code = options.none === true ? null : await readCode(userId);
        const user = await client.call('users.setQuickCode', { userId, code });
        context.out.result(
          { user, set: code !== null },
          () => `${user.name} ${code === null ? 'has no code' : 'has a new code'}.`,
        );
      });
    }),
  );
  withAccount(users.command('disable <id>')).action(
    action(async (context: Context, userId: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        const user = await client.call('users.disable', { userId });
        context.out.result({ user }, () => `${user.name} is disabled.`);
      });
    }),
  );
  addPasswordCommands(users, action);

  const stations = program.command('stations').description('cameras with their part position');
  stations.command('list').action(
    action(async (context: Context) => {
      await withCore(context, async (client) => {
        const list = await client.call('stations.list', {});
        context.out.result({ stations: list }, () =>
          format.table([
            ['id', 'name', 'camera', 'model'],
            ...list.map((s) => [s.id, s.name, s.camera.kind, s.activeModelId ?? '-']),
          ]),
        );
      });
    }),
  );
  withAccount(
    stations
      .command('add <name>')
      .option('--folder <dir>', 'watch this folder', namedFolder)
      .addOption(new Option('--camera <serial>', 'this GigE Vision camera').conflicts('folder'))
      .addOption(
        new Option('--surface <name>', 'simulated line with this surface')
          .choices(surfaceSchema.options)
          .default('brushed-metal')
          .conflicts(['folder', 'camera']),
      ),
  ).action(
    action(
      async (
        context: Context,
        name: string,
        options: UserOption & { folder?: string; camera?: string; surface: Surface },
      ) => {
        await signedIn(context, options, async (client) => {
          const camera =
            options.folder !== undefined
              ? ({ kind: 'folder', path: resolve(options.folder) } as const)
              : options.camera !== undefined
                ? ({ kind: 'gige', serial: options.camera } as const)
                : ({ kind: 'simulated', surface: options.surface } as const);
          const station = await client.call('stations.add', { name, camera });
          context.out.result({ station }, () => `${station.id} was added.`);
        });
      },
    ),
  );
  withAccount(
    stations
      .command('set <id>')
      .description('change what a station accepts, or its camera')
      .option('--name <text>', 'what it is called from now on')
      .option('--folder <dir>', 'watch this folder', namedFolder)
      .option('--backbone <id>', 'learn with this one from the next update on')
      .option('--max-latency-ms <x>', 'greatest p99 of one part', decimalNumber(0.1, 60_000))
      .option('--max-escape <share>', 'greatest share of NG parts judged ok', decimalNumber(0, 1))
      .option('--max-overkill <share>', 'greatest share of OK parts judged ng', decimalNumber(0, 1))
      .option('--max-drop-pp <p>', 'greatest drop of balanced accuracy by compression, points', decimalNumber(0, 100))
      .option(
        '--revalidate-days <n>',
        'remind of looking at the model again after so long; 0: never',
        wholeNumber(0, 3_650),
      ),
  ).action(
    action(async (context: Context, stationId: string, options: StationChanges) => {
      await signedIn(context, options, async (client) => {
        const before = await stationOf(client, { station: stationId });
        const { maxLatencyMs, maxEscape, maxOverkill, maxDropPp, revalidateDays } = options;
        const station = await client.call('stations.update', {
          stationId: before.id,
          ...(options.name === undefined ? {} : { name: options.name }),
          ...(options.folder === undefined
            ? {}
            : { camera: { kind: 'folder' as const, path: resolve(options.folder) } }),
          ...(options.backbone === undefined ? {} : { backboneId: options.backbone }),
          criteria: {
            ...before.criteria,
            ...(maxLatencyMs === undefined ? {} : { maxLatencyMsP99: maxLatencyMs }),
            ...(maxEscape === undefined ? {} : { maxEscape }),
            ...(maxOverkill === undefined ? {} : { maxOverkill }),
            ...(maxDropPp === undefined ? {} : { maxDropPp }),
            ...(revalidateDays === undefined ? {} : { revalidateDays }),
          },
        });
        context.out.result({ station }, () => `${station.id} is changed.`);
      });
    }),
  );
}
