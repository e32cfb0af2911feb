import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { AppError, type Language } from '../../contract/errors.ts';
import { languageSchema, type Candidate, type Station } from '../../contract/domain.ts';
import { budgetSchema, type Budget } from '../../contract/methods.ts';
import { signIn, type CoreClient } from './accounts.ts';
import { usableClass } from './classes.ts';
import { withCore } from './core-client.ts';
import { followJob } from './jobs.ts';
import { addKnowledgeCommands } from './knowledge-commands.ts';
import { decimalNumber, isoTime, wholeNumber, type Action, type Context } from './context.ts';
import { format } from './output.ts';
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
import { readPassword } from './terminal.ts';

/** Commands on a home: each starts the same core as the window does, asks it, and ends it. */
export function addHomeCommands(program: Command, action: Action): void {
  program
    .command('init')
    .description('make a data folder with its first supervisor')
    .requiredOption('--user <name>', 'name of the supervisor')
    .addOption(new Option('--language <language>', 'of the window').choices(languageSchema.options).default('en'))
    .action(
      action(async (context: Context, options: { user: string; language: Language }) => {
        const password = await readPassword(options.user);
        await withCore(
          context,
          async (client) => {
            const state = await client.call('session.firstStart', {
              name: options.user,
              password,
              language: options.language,
            });
            const stations = await client.call('stations.list', {});
            context.out.result(
              { home: context.home, user: state.user, stations: stations.map((s) => ({ id: s.id, name: s.name })) },
              () => `${context.home} is ready; ${options.user} is its first supervisor.`,
            );
          },
          { makes: true },
        );
      }),
    );

  addLabelCommands(program, action);
  addKnowledgeCommands(program, action);
  addCandidateCommands(program, action);
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
            relabelled: done.step.details['relabelled'] ?? null,
            ...summary,
          },
          ({ imported, skipped, relabelled }) =>
            `${imported ?? 0} images taken in, ${skipped ?? 0} skipped.${relabelled ? ` ${relabelled} had another class until now.` : ''}`,
        );
      });
    }),
  );

  const queue = program.command('queue').description('parts that wait for a label');
  withUser(queue.command('list').option('--limit <n>', 'at most', wholeNumber(1, 10_000), 100)).action(
    action(async (context: Context, options: UserOption & { limit: number }) => {
      await atStation(context, options, async (client, station) => {
        const list = await client.call('queue.list', { stationId: station.id, limit: options.limit });
        context.out.result(list, () =>
          format.table([
            ['part', 'reason', 'usefulness', 'suggestion', 'image'],
            ...list.items.map((item) => [
              item.part.id,
              item.reason,
              item.usefulness.toFixed(3),
              item.doubt ? `${item.suggestedClassId} instead of ${item.doubt.classId}` : (item.suggestedClassId ?? '-'),
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
        // First of all the part: a class that is made for it is there for good.
        const partId = /^\d+$/.test(path)
          ? (await client.call('parts.get', { partId: Number(path) })).id
          : await partOfFile(context, client, station, path);
        const classId = await usableClass(client, className);
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
  withUser(
    candidates
      .command('create')
      .addOption(new Option('--budget <name>').choices(budgetSchema.options).default('quick'))
      .option('--time-budget-s <s>', 'seconds, in place of a named budget', decimalNumber(10, 86_400)),
  ).action(
    action(async (context: Context, options: UserOption & { budget: Budget; timeBudgetS?: number }) => {
      await atStation(context, options, async (client, station) => {
        const { budget, timeBudgetS } = options;
        const done = await followJob(
          context,
          client,
          await client.call('candidates.create', {
            stationId: station.id,
            budget,
            ...(timeBudgetS === undefined ? {} : { timeBudgetS }),
          }),
        );
        const list = (await client.call('candidates.list', { stationId: station.id })).filter((c) =>
          done.result.includes(c.id),
        );
        context.out.result(list.map(brief), () => candidateTable(list));
      });
    }),
  );

  withAccount(
    candidates
      .command('shadow <id>')
      .description('let a candidate judge archived frames beside the active model, without any effect')
      .option('--frames <n>', 'how many, the newest first', wholeNumber(1, 20_000), 500)
      .option('--time-budget-s <s>', 'ends after so long, with what was judged by then', decimalNumber(1, 28_800), 600),
  ).action(
    action(
      async (context: Context, candidateId: string, options: UserOption & { frames: number; timeBudgetS: number }) => {
        await signedIn(context, options, async (client) => {
          const { frames, timeBudgetS } = options;
          await followJob(
            context,
            client,
            await client.call('candidates.shadow', { candidateId, frames, timeBudgetS }),
          );
          const { shadow } = await client.call('candidates.show', { candidateId });
          context.out.result(
            { id: candidateId, ...shadow },
            () =>
              `${shadow?.judged} frames judged, ${shadow?.disagreements} otherwise than by ${shadow?.activeModelId}.` +
              (shadow?.memory
                ? ` Memory: ${(shadow.memory.candidateBytes / 1e6).toFixed(0)} MB, that one ${(shadow.memory.activeBytes / 1e6).toFixed(0)} MB.`
                : ''),
          );
        });
      },
    ),
  );

  withAccount(
    candidates.command('recheck <id>').description('measure a model on this PC once more; ends the reminder to do so'),
  ).action(
    action(async (context: Context, candidateId: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        await followJob(context, client, await client.call('candidates.recheck', { candidateId }));
        const { recheck } = await client.call('candidates.show', { candidateId });
        context.out.result({ id: candidateId, ...recheck }, () =>
          (recheck?.gates ?? []).map(({ name, outcome, measured }) => `${name}: ${outcome}, ${measured}`).join('\n'),
        );
      });
    }),
  );

  withAccount(
    program
      .command('approve <id>')
      .description('sign a candidate as supervisor')
      .requiredOption('--meaning <text>', 'what the signature stands for')
      .option('--waive <reason>', 'why missing evidence is accepted'),
  ).action(
    action(async (context: Context, candidateId: string, options: UserOption & { meaning: string; waive?: string }) => {
      await withCore(context, async (client) => {
        const password = await signIn(context, client, options.user);
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
  withAccount(
    program
      .command('reject <id>')
      .description('decide against a candidate; taking an approval away is signed')
      .requiredOption('--reason <text>', 'why'),
  ).action(
    action(async (context: Context, candidateId: string, options: UserOption & { reason: string }) => {
      await signedIn(context, options, async (client, password) => {
        const rejected = await client.call('candidates.reject', { candidateId, reason: options.reason, password });
        context.out.result({ id: rejected.id, state: rejected.state }, () => `${rejected.id} is rejected.`);
      });
    }),
  );
  withAccount(
    program
      .command('activate <id>')
      .description('let an approved model inspect; back to an earlier one is signed')
      .option('--meaning <text>', 'what the signature stands for', RETURN)
      .option(
        '--at <time>',
        'at a time of this PC, as 2026-05-01T22:00, if the program runs then; default: now',
        isoTime,
      ),
  ).action(
    action(async (context: Context, candidateId: string, options: UserOption & { meaning: string; at?: number }) => {
      const time = options.at === undefined ? null : new Date(options.at);
      await signedIn(context, options, async (client, password) => {
        const signature = { password, meaning: options.meaning };
        if (time) {
          const at = time.toISOString();
          const { stationId } = await client.call('candidates.show', { candidateId });
          await client.call('models.plan', { stationId, activation: { candidateId, at, signature } });
          context.out.result(
            { id: candidateId, at },
            () => `${candidateId} becomes active at ${time.toLocaleString()}.`,
          );
          return;
        }
        const { active, previous } = await client.call('models.activate', { candidateId, signature });
        context.out.result({ id: active.id, state: active.state, previous }, () => `${active.id} is active.`);
      });
    }),
  );
  withUser(
    program
      .command('rollback')
      .argument('[candidate]', 'refuse to go back to any other')
      .description('go back to the model before, signed')
      .option('--meaning <text>', 'what the signature stands for', RETURN),
  ).action(
    action(async (context: Context, candidate: string | undefined, options: UserOption & { meaning: string }) => {
      await atStation(context, options, async (client, station, password) => {
        const signature = { password, meaning: options.meaning };
        const asked = { stationId: station.id, signature, candidateId: candidate ?? null };
        const { active, previous } = await client.call('models.rollback', asked);
        context.out.result({ id: active.id, state: active.state, previous }, () => `${active.id} is active again.`);
      });
    }),
  );
}

/** Nothing has to be thought up while bad parts go by. */
const RETURN = 'The earlier model is to inspect again';

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

async function partOfFile(context: Context, client: CoreClient, station: Station, path: string): Promise<number> {
  // Of a folder the import would take all pictures in, and one would be labelled.
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) {
    throw new AppError('INVALID_INPUT', { what: path, problem: found ? 'it is no file' : 'there is no such file' });
  }
  const job = await client.call('import.start', { stationId: station.id, path: resolve(path), asLabels: false });
  const done = await followJob(context, client, job);
  const partId = Number(done.result[0]);
  if (!Number.isInteger(partId)) {
    // The job skips what it cannot read and says why, with the name of the file: not twice.
    const why = done.skipped?.[0]?.message.replace(/^.*? is not a readable image: /, '').replace(/\.$/, '');
    throw new AppError('IMAGE_UNREADABLE', { file: path, problem: why ?? 'it could not be taken in' });
  }
  return partId;
}
