import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AppError } from '../../contract/errors.ts';
import { roleSchema, type Candidate, type Station } from '../../contract/domain.ts';
import { signIn, type CoreClient } from './accounts.ts';
import { withCore } from './core-client.ts';
import { followJob } from './jobs.ts';
import type { Action, Context } from './context.ts';
import { format } from './output.ts';
import { readPassword } from './terminal.ts';

interface StationOption {
  station?: string;
}
interface UserOption extends StationOption {
  user?: string;
}

const withStation = (command: Command) => command.option('--station <id>', 'station (default: the only one)');
const withUser = (command: Command) =>
  withStation(command).option(
    '--user <name>',
    'account (default: the only one; password from MEKIKI_PASSWORD or the terminal)',
  );

/** Commands on a home: each starts the same core as the window does, asks it, and ends it. */
export function addHomeCommands(program: Command, action: Action): void {
  program
    .command('init')
    .description('make a data folder with its first supervisor')
    .requiredOption('--user <name>', 'name of the supervisor')
    .option('--language <en|ja>', 'language of the window', 'en')
    .action(
      action(async (context: Context, options: { user: string; language: string }) => {
        const language = options.language === 'ja' ? 'ja' : 'en';
        const password = await readPassword(options.user);
        await withCore(context, async (client) => {
          const state = await client.call('session.firstStart', { name: options.user, password, language });
          const stations = await client.call('stations.list', {});
          context.out.result(
            { home: context.home, user: state.user, stations: stations.map((s) => ({ id: s.id, name: s.name })) },
            () => `${context.home} is ready; ${options.user} is its first supervisor.`,
          );
        });
      }),
    );

  addAccountCommands(program, action);
  addLabelCommands(program, action);
  addCandidateCommands(program, action);
}

function addAccountCommands(program: Command, action: Action): void {
  const users = program.command('users').description('accounts of this data folder');
  withUser(users.command('list')).action(
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
  withUser(users.command('add <name>').requiredOption('--role <role>', roleSchema.options.join(', '))).action(
    action(async (context: Context, name: string, options: UserOption & { role: string }) => {
      const role = roleSchema.safeParse(options.role);
      if (!role.success)
        throw new AppError('INVALID_INPUT', {
          what: '--role',
          problem: `give one of ${roleSchema.options.join(', ')}`,
        });
      await signedIn(context, options, async (client) => {
        // The new account's own password: never the signer's.
        const password = process.env['MEKIKI_NEW_PASSWORD'] ?? (await readPassword(`the new account ${name}`));
        const user = await client.call('users.add', { name, role: role.data, password });
        context.out.result({ user }, () => `${name} was added as ${role.data}.`);
      });
    }),
  );
  withUser(users.command('disable <id>')).action(
    action(async (context: Context, userId: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        const user = await client.call('users.disable', { userId });
        context.out.result({ user }, () => `${user.name} is disabled.`);
      });
    }),
  );

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
  withUser(
    stations
      .command('add <name>')
      .option('--folder <dir>', 'watch this folder')
      .option('--surface <name>', 'simulated line with this surface', 'brushed-metal'),
  ).action(
    action(async (context: Context, name: string, options: UserOption & { folder?: string; surface: string }) => {
      await signedIn(context, options, async (client) => {
        const camera = options.folder
          ? ({ kind: 'folder', path: resolve(options.folder) } as const)
          : ({ kind: 'simulated', surface: options.surface as 'cast' } as const);
        const station = await client.call('stations.add', { name, camera });
        context.out.result({ station }, () => `${station.id} was added.`);
      });
    }),
  );
}

function addLabelCommands(program: Command, action: Action): void {
  withUser(
    program
      .command('import <dir>')
      .description('take images in')
      .option('--as-labels', 'folders are classes: <dir>/<class>/*'),
  ).action(
    action(async (context: Context, dir: string, options: UserOption & { asLabels?: boolean }) => {
      await atStation(context, options, async (client, station) => {
        const job = await client.call('import.start', {
          stationId: station.id,
          path: resolve(dir),
          asLabels: options.asLabels === true,
        });
        const done = await followJob(context, client, job);
        const summary = await client.call('labels.summary', { stationId: station.id });
        context.out.result(
          {
            job: done,
            imported: done.step.details['imported'] ?? null,
            skipped: done.step.details['skipped'] ?? null,
            ...summary,
          },
          () => `${done.step.details['imported'] ?? 0} images taken in, ${done.step.details['skipped'] ?? 0} skipped.`,
        );
      });
    }),
  );

  const queue = program.command('queue').description('parts that wait for a label');
  withUser(queue.command('list').option('--limit <n>', 'at most', '100')).action(
    action(async (context: Context, options: UserOption & { limit: string }) => {
      await atStation(context, options, async (client, station) => {
        const limit = Math.max(1, Math.min(10_000, Number.parseInt(options.limit, 10) || 100));
        const list = await client.call('queue.list', { stationId: station.id, limit });
        context.out.result(list, () =>
          format.table([
            ['part', 'reason', 'usefulness', 'suggestion', 'image'],
            ...list.items.map((item) => [
              item.part.id,
              item.reason,
              item.usefulness.toFixed(3),
              item.suggestedClassId ?? '-',
              item.part.imageSha ?? '-',
            ]),
          ]),
        );
      });
    }),
  );

  withUser(
    program
      .command('label <path> <class>')
      .description('label an image file, or a part by its number; a new class is made'),
  ).action(
    action(async (context: Context, path: string, className: string, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const partId = /^\d+$/.test(path) ? Number(path) : await partOfFile(context, client, station, path);
        const classId = await classOf(client, className);
        const { labelled } = await client.call('labels.create', { partIds: [partId], classId });
        context.out.result({ labelled, partId, classId }, () => `Part ${partId} is ${className}.`);
      });
    }),
  );

  withUser(program.command('update').description('learn from the labels')).action(
    action(async (context: Context, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        await followJob(context, client, await client.call('knowledge.update', { stationId: station.id }));
        const knowledge = await client.call('knowledge.show', { stationId: station.id });
        if (!knowledge) throw new AppError('NO_KNOWLEDGE', { stationId: station.id });
        context.out.result(
          {
            knowledgeId: knowledge.id,
            classes: knowledge.classes,
            seconds: knowledge.seconds,
            balancedAccuracy: knowledge.balancedAccuracy,
          },
          () => `${knowledge.id}: ${knowledge.classes.length} classes in ${knowledge.seconds.toFixed(1)} s.`,
        );
      });
    }),
  );

  const knowledge = program.command('knowledge').description('what the station has learnt');
  withStation(knowledge.command('show')).action(
    action(async (context: Context, options: StationOption) => {
      await withCore(context, async (client) => {
        const station = await stationOf(client, options);
        const list = await client.call('knowledge.list', { stationId: station.id });
        const classes = await client.call('classes.list', {});
        context.out.result({ current: list[0] ?? null, lineage: list, classes }, () =>
          format.table([
            ['id', 'made', 'classes', 'parts'],
            ...list.map((k) => [k.id, k.createdAt, k.classes.length, k.classes.reduce((n, c) => n + c.labelled, 0)]),
          ]),
        );
      });
    }),
  );
  withUser(knowledge.command('forget <sha>').description('un-learn an image by its sha256')).action(
    action(async (context: Context, imageSha: string, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const done = await followJob(
          context,
          client,
          await client.call('knowledge.forget', { stationId: station.id, imageSha }),
        );
        context.out.result(
          { knowledgeId: done.result[0] ?? null },
          () => `Forgotten; the knowledge is now ${done.result[0]}.`,
        );
      });
    }),
  );
}

function addCandidateCommands(program: Command, action: Action): void {
  const candidates = program.command('candidates').description('compressed models with their evidence');
  withStation(candidates.command('list')).action(
    action(async (context: Context, options: StationOption) => {
      await withCore(context, async (client) => {
        const station = await stationOf(client, options);
        const list = await client.call('candidates.list', { stationId: station.id });
        context.out.result(list.map(brief), () => candidateTable(list));
      });
    }),
  );
  candidates.command('show <id>').action(
    action(async (context: Context, candidateId: string) => {
      await withCore(context, async (client) => {
        const candidate = await client.call('candidates.show', { candidateId });
        context.out.result(candidate, () => JSON.stringify(candidate, null, 2));
      });
    }),
  );
  withUser(candidates.command('create').option('--budget <name>', 'quick, lunch or overnight', 'quick')).action(
    action(async (context: Context, options: UserOption & { budget: string }) => {
      await atStation(context, options, async (client, station) => {
        const budget = options.budget as 'quick';
        const done = await followJob(
          context,
          client,
          await client.call('candidates.create', { stationId: station.id, budget }),
        );
        const list = (await client.call('candidates.list', { stationId: station.id })).filter((c) =>
          done.result.includes(c.id),
        );
        context.out.result(list.map(brief), () => candidateTable(list));
      });
    }),
  );

  withUser(
    program
      .command('approve <id>')
      .description('sign a candidate as supervisor')
      .requiredOption('--meaning <text>', 'what the signature stands for')
      .option('--waive <reason>', 'why missing evidence is accepted'),
  ).action(
    action(async (context: Context, candidateId: string, options: UserOption & { meaning: string; waive?: string }) => {
      await withCore(context, async (client) => {
        const password = await signIn(client, options.user);
        const candidate = await client.call('candidates.show', { candidateId });
        const changed = candidate.evidence.changed.map((c) => c.imageSha);
        if (!context.out.json && changed.length > 0)
          process.stderr.write(`${changed.length} changed verdicts: ${changed.join(' ')}\n`);
        if (candidate.state === 'candidate') await client.call('candidates.submit', { candidateId });
        const approved = await client.call('candidates.approve', {
          candidateId,
          password,
          meaning: options.meaning,
          waiver: options.waive ?? null,
          // The list was printed above, or is in `candidates show`: who signs by command line has it before the eyes there.
          seenChanged: changed,
        });
        context.out.result(
          { id: approved.id, state: approved.state, signatureId: approved.approval?.signatureId ?? null },
          () => `${approved.id} is approved.`,
        );
      });
    }),
  );
  withUser(program.command('reject <id>').requiredOption('--reason <text>', 'why')).action(
    action(async (context: Context, candidateId: string, options: UserOption & { reason: string }) => {
      await signedIn(context, options, async (client) => {
        const rejected = await client.call('candidates.reject', { candidateId, reason: options.reason });
        context.out.result({ id: rejected.id, state: rejected.state }, () => `${rejected.id} is rejected.`);
      });
    }),
  );
  withUser(program.command('activate <id>').description('let an approved model inspect')).action(
    action(async (context: Context, candidateId: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        const { active, previous } = await client.call('models.activate', { candidateId });
        context.out.result({ id: active.id, state: active.state, previous }, () => `${active.id} is active.`);
      });
    }),
  );
  withUser(program.command('rollback').description('go back to the model before')).action(
    action(async (context: Context, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const { active, previous } = await client.call('models.rollback', { stationId: station.id });
        context.out.result({ id: active.id, state: active.state, previous }, () => `${active.id} is active again.`);
      });
    }),
  );
}

const brief = (candidate: Candidate) => ({
  id: candidate.id,
  state: candidate.state,
  bundleSha256: candidate.bundleSha256,
  strategy: candidate.strategy,
  precision: candidate.precision,
  ratio: candidate.ratio,
  inputSize: candidate.inputSize,
  offered: candidate.offered,
  recommended: candidate.recommended,
  reason: candidate.reason,
  speedup: candidate.evidence.speedup,
  accuracyDropPp: candidate.evidence.accuracyDropPp,
  gates: candidate.evidence.gates.map(({ name, outcome }) => ({ name, outcome })),
});

const candidateTable = (list: readonly Candidate[]): string =>
  format.table([
    ['id', 'state', 'method', 'px', 'p50 ms', 'faster', 'drop pp', ''],
    ...list.map((c) => [
      c.id,
      c.state,
      `${c.strategy} ${c.precision}`,
      c.inputSize,
      c.evidence.candidate.latencyMsP50.toFixed(2),
      `${c.evidence.speedup.toFixed(2)}x`,
      c.evidence.accuracyDropPp.toFixed(2),
      c.recommended ? 'recommended' : c.offered ? '' : c.reason,
    ]),
  ]);

async function signedIn(
  context: Context,
  options: UserOption,
  run: (client: CoreClient) => Promise<void>,
): Promise<void> {
  await withCore(context, async (client) => {
    await signIn(client, options.user);
    await run(client);
  });
}

const atStation = (
  context: Context,
  options: UserOption,
  run: (client: CoreClient, station: Station) => Promise<void>,
) => signedIn(context, options, async (client) => run(client, await stationOf(client, options)));

async function stationOf(client: CoreClient, options: StationOption): Promise<Station> {
  const stations = await client.call('stations.list', {});
  if (options.station) {
    const found = stations.find((s) => s.id === options.station || s.name === options.station);
    if (!found) throw new AppError('NOT_FOUND', { kind: 'station', id: options.station });
    return found;
  }
  const [first, second] = stations;
  if (!first) throw new AppError('NOT_FOUND', { kind: 'station', id: '-' });
  if (second)
    throw new AppError('INVALID_INPUT', {
      what: '--station',
      problem: `it must name one of ${stations.map((s) => s.id).join(', ')}`,
    });
  return first;
}

async function partOfFile(context: Context, client: CoreClient, station: Station, path: string): Promise<number> {
  const job = await client.call('import.start', { stationId: station.id, path: resolve(path), asLabels: false });
  const done = await followJob(context, client, job);
  const partId = Number(done.result[0]);
  if (!Number.isInteger(partId))
    throw new AppError('IMAGE_UNREADABLE', { file: path, problem: 'it could not be taken in' });
  return partId;
}

/** Id of the class with this id or name (either language); made if there is none. */
async function classOf(client: CoreClient, name: string): Promise<string> {
  const classes = await client.call('classes.list', {});
  const found = classes.find((c) => c.id === name || c.names.en === name || c.names.ja === name);
  if (found) return found.id;
  return (await client.call('classes.create', { names: { en: name, ja: name } })).id;
}
