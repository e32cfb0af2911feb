import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { languageSchema, type Job, type Station } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { MethodOutput } from '../../contract/methods.ts';
import type { CoreClient } from './accounts.ts';
import { knownClass } from './classes.ts';
import { wholeNumber, type Action, type Context } from './context.ts';
import { withCore } from './core-client.ts';
import { followJob } from './jobs.ts';
import { format, UsageError } from './output.ts';
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

/** As many as the contract takes. */
const LABELLED_AT_ONCE = 500;
const LISTED_AT_ONCE = 10_000;

/** What a station has learnt: shown, given and taken, corrected. */
export function addKnowledgeCommands(program: Command, action: Action): void {
  const changed = async (context: Context, client: CoreClient, station: Station, job: Job, what: string) => {
    const done = await followJob(context, client, job);
    const newest = await client.call('knowledge.show', { stationId: station.id });
    context.out.result(
      { knowledgeId: done.result[0] ?? null, classes: newest?.classes ?? [] },
      () => `${what}; the knowledge is now ${done.result[0]}.`,
    );
  };

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
  withUser(
    knowledge.command('export <file>').description("write the station's sums per class into a file, without images"),
  ).action(
    action(async (context: Context, file: string, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const target = resolve(file);
        await followJob(
          context,
          client,
          await client.call('knowledge.export', { stationId: station.id, file: target }),
        );
        const newest = await client.call('knowledge.show', { stationId: station.id });
        context.out.result({ file: target, classes: newest?.classes ?? [] }, () => `Written: ${target}`);
      });
    }),
  );
  withUser(
    knowledge.command('import <file>').description("add another station's exported knowledge (same backbone)"),
  ).action(
    action(async (context: Context, file: string, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const job = await client.call('knowledge.import', { stationId: station.id, file: resolve(file) });
        await changed(context, client, station, job, 'Added');
      });
    }),
  );
  withUser(
    knowledge
      .command('merge <from> [into]')
      .description(
        'one argument: add what another station (or an exported file) has learnt; two: make one class of two',
      ),
  ).action(
    action(async (context: Context, from: string, into: string | undefined, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const stationId = station.id;
        if (into !== undefined) {
          await client.call('classes.merge', {
            from: await knownClass(client, from),
            into: await knownClass(client, into),
          });
          await changed(context, client, station, await client.call('knowledge.update', { stationId }), 'Merged');
          return;
        }
        const other = (await client.call('stations.list', {})).find((s) => s.id === from || s.name === from);
        const job = other
          ? await client.call('knowledge.merge', { stationId, fromStationId: other.id })
          : await client.call('knowledge.import', { stationId, file: resolve(from) });
        await changed(context, client, station, job, 'Added');
      });
    }),
  );
  withUser(
    knowledge
      .command('forget [sha]')
      .description('un-learn an image by its sha256, or all images of a class')
      .option('--image <sha>', 'the image, by its sha256')
      .option('--class <name>', 'all images of this class; the class is retired'),
  ).action(
    action(
      async (context: Context, sha: string | undefined, options: UserOption & { image?: string; class?: string }) => {
        const named = [sha, options.image, options.class].filter((each) => each !== undefined);
        if (named.length !== 1) throw new UsageError('knowledge forget', 'name one image or one class');
        const imageSha = sha ?? options.image;
        await atStation(context, options, async (client, station) => {
          const stationId = station.id;
          const job =
            imageSha === undefined
              ? await client.call('knowledge.forgetClass', {
                  stationId,
                  classId: await knownClass(client, options.class!),
                })
              : await client.call('knowledge.forget', { stationId, imageSha });
          await changed(context, client, station, job, 'Forgotten');
        });
      },
    ),
  );
  withUser(
    knowledge
      .command('split <class> <name> <sha...>')
      .description('make a class of its own of some images of a class, named by their sha256 (see knowledge labels)'),
  ).action(
    action(async (context: Context, from: string, name: string, shas: string[], options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const stationId = station.id;
        const classId = await knownClass(client, from);
        const partIds = await labelledParts(client, { stationId, classId }, shas, `image labelled ${from}`);
        const { perClass } = await client.call('labels.summary', { stationId });
        if (partIds.length === perClass.find((row) => row.classId === classId)?.labelled) {
          throw new AppError('INVALID_INPUT', {
            what: 'knowledge split',
            problem: `${from} would be empty; rename it`,
          });
        }
        const made = await client.call('classes.create', { names: { en: name, ja: name } });
        for (let i = 0; i < partIds.length; i += LABELLED_AT_ONCE) {
          await client.call('labels.create', { partIds: partIds.slice(i, i + LABELLED_AT_ONCE), classId: made.id });
        }
        await changed(context, client, station, await client.call('knowledge.update', { stationId }), 'Split');
      });
    }),
  );
  withUser(
    knowledge
      .command('send-back <sha...>')
      .description('take labels away and put their parts into the queue for other ones, named by their sha256'),
  ).action(
    action(async (context: Context, shas: string[], options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const partIds = await labelledParts(client, { stationId: station.id }, shas, 'labelled image');
        for (let i = 0; i < partIds.length; i += LABELLED_AT_ONCE)
          await client.call('labels.leaveOut', { partIds: partIds.slice(i, i + LABELLED_AT_ONCE), toQueue: true });
        context.out.result(
          { sentBack: partIds },
          () => `${partIds.length} in the queue; update to forget their labels.`,
        );
      });
    }),
  );
  withUser(
    knowledge
      .command('labels')
      .option('--class <name>', 'those of this class alone')
      .option('--limit <n>', 'at most', wholeNumber(1, 1_000_000), 200)
      .description('what is labelled, newest first'),
  ).action(
    action(async (context: Context, options: UserOption & { class?: string; limit: number }) => {
      await atStation(context, options, async (client, station) => {
        const of = {
          stationId: station.id,
          ...(options.class === undefined ? {} : { classId: await knownClass(client, options.class) }),
        };
        const labels = await newestLabels(client, of, options.limit);
        context.out.result({ labels }, () =>
          format.table([
            ['part', 'class', 'labelled at', 'learnt', 'image'],
            ...labels.map((label) => [
              label.partId,
              label.classId,
              label.at,
              label.learnt ? 'yes' : 'no',
              label.imageSha,
            ]),
          ]),
        );
      });
    }),
  );
  withUser(
    knowledge.command('check').description('sum all images anew and compare with what is kept, bit by bit'),
  ).action(
    action(async (context: Context, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const job = await client.call('knowledge.check', { stationId: station.id });
        const { result: differing } = await followJob(context, client, job);
        context.out.result({ differing }, () =>
          differing.length === 0
            ? 'Every sum is what its images give.'
            : `Differing: ${differing.join(', ')}. Stop the program, delete the folder knowledge/sums and update: it is made anew.`,
        );
      });
    }),
  );
  withAccount(
    knowledge
      .command('rename <class> <name>')
      .description('another name for a class, in both languages unless one is named; its id stays')
      .addOption(new Option('--language <language>', 'whose name alone is set').choices(languageSchema.options)),
  ).action(
    action(async (context: Context, name: string, next: string, options: UserOption & { language?: 'en' | 'ja' }) => {
      await signedIn(context, options, async (client) => {
        const classId = await knownClass(client, name);
        const { language } = options;
        const names = language === undefined ? { en: next, ja: next } : { [language]: next };
        const renamed = await client.call('classes.rename', { classId, names });
        context.out.result(renamed, () => `${classId} is called ${renamed.names.en} / ${renamed.names.ja}.`);
      });
    }),
  );
  withAccount(
    knowledge.command('retire <class>').description('no new labels of a class; what was learnt stays'),
  ).action(
    action(async (context: Context, name: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        const retired = await client.call('classes.retire', { classId: await knownClass(client, name) });
        context.out.result(retired, () => `${retired.id} is retired.`);
      });
    }),
  );
}

/** Labels of a station, newest first, a page at a time. */
export async function newestLabels(
  client: Pick<CoreClient, 'call'>,
  of: { stationId: string; classId?: string },
  limit: number,
): Promise<MethodOutput<'labels.list'>> {
  const labels: MethodOutput<'labels.list'> = [];
  while (labels.length < limit) {
    const asked = Math.min(LISTED_AT_ONCE, limit - labels.length);
    const last = labels.at(-1);
    const before = last && { before: { at: last.at, partId: last.partId } };
    const page = await client.call('labels.list', { ...of, limit: asked, ...before });
    labels.push(...page);
    if (page.length < asked) break;
  }
  return labels;
}

/** Numbers of the parts that show these pictures, each once. @throws NOT_FOUND of `kind` */
async function labelledParts(
  client: CoreClient,
  of: { stationId: string; classId?: string },
  shas: readonly string[],
  kind: string,
): Promise<number[]> {
  const wanted = [...new Set(shas)];
  const partIds: number[] = [];
  for (let i = 0; i < wanted.length; i += LABELLED_AT_ONCE) {
    const images = wanted.slice(i, i + LABELLED_AT_ONCE);
    const labels = await client.call('labels.list', { ...of, images });
    const byImage = new Map(labels.map((label) => [label.imageSha, label.partId]));
    for (const sha of images) {
      const partId = byImage.get(sha);
      if (partId === undefined) throw new AppError('NOT_FOUND', { kind, id: sha });
      partIds.push(partId);
    }
  }
  return partIds;
}
