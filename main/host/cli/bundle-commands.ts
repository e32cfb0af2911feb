import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { openBundle } from '../../audit/bundle-file.ts';
import { hexOfKey } from '../../audit/keys.ts';
import { AppError, problemOf } from '../../contract/errors.ts';
import { printableLine } from '../../contract/printable.ts';
import { aboutBundle, readBundleBytes } from '../../core/bundles.ts';
import { refuseOtherMark } from '../../core/demo-mark.ts';
import { signIn, type CoreClient } from './accounts.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { ensureDemo } from './demo.ts';
import { atStation, signedIn, stationOf, withAccount, withUser, type UserOption } from './station-option.ts';

export interface ChosenBundle extends UserOption {
  active?: boolean;
  candidate?: string;
  demo?: boolean;
}

/** Models as signed files, between homes. Gives the command `bundle`. */
export function addBundleCommands(program: Command, action: Action): Command {
  const bundle = program.command('bundle').description('models as signed files');
  withChoice(bundle.command('export').description('write a model with its evidence and approval into one signed file'))
    .requiredOption('--out <file>', 'file to write')
    .action(
      action(async (context: Context, options: ChosenBundle & { out: string }) => {
        if (options.demo) await ensureDemo(context);
        await withCore(context, async (client) => {
          await signIn(context, client, options.user);
          const candidateId = await chosenCandidate(client, options);
          const made = await client.call('bundles.export', { candidateId, file: resolve(options.out) });
          context.out.result({ candidateId, ...made }, () => `${candidateId} is in ${made.file}.`);
        });
      }),
    );

  bundle
    .command('verify <file>')
    .description('prove that a file is as its installation signed it, and say whether that one is trusted here')
    .action(
      action(async (context: Context, file: string) => {
        const about = await aboutBundle(context.home, resolve(file));
        context.out.result(about, () =>
          [
            `valid: as signed by ${about.installation} on ${about.exportedAt}`,
            `trusted here: ${about.trusted ? 'yes' : about.demo ? 'no, it was made in a demo' : 'no'}`,
            `approved there: ${about.approval ? printableLine(`by ${about.approval.userName} on ${about.approval.at}`) : 'no'}`,
          ].join('\n'),
        );
      }),
    );

  withUser(
    bundle.command('import <file>').description('take the bundle of a trusted installation in as a candidate'),
  ).action(
    action(async (context: Context, file: string, options: UserOption) => {
      await atStation(context, options, async (client, station) => {
        const candidate = await client.call('bundles.import', { stationId: station.id, file: resolve(file) });
        context.out.result(
          { id: candidate.id, state: candidate.state, bundleSha256: candidate.bundleSha256, origin: candidate.origin },
          () => `${candidate.id} is a candidate of ${station.id}; it needs an approval here.`,
        );
      });
    }),
  );

  withAccount(
    bundle
      .command('trust [key]')
      .description('take bundles of this installation: its key, its root.pub, or one of its bundle files; no key: list')
      .option('--name <text>', 'what people call it', '')
      .option('--remove', 'no longer'),
  ).action(
    action(
      async (context: Context, key: string | undefined, options: UserOption & { name: string; remove?: boolean }) => {
        if (key === undefined) {
          await withCore(context, async (client) => {
            const list = await client.call('bundles.trusted', {});
            context.out.result(list, () =>
              [`this installation: ${list.installation}`, ...list.installations.map((t) => `${t.key} ${t.name}`)].join(
                '\n',
              ),
            );
          });
          return;
        }
        const hex = await keyFrom(key);
        await signedIn(context, options, async (client) => {
          const list = options.remove
            ? await client.call('bundles.distrust', { key: hex })
            : await client.call('bundles.trust', { key: hex, name: options.name });
          context.out.result(list, () => `${hex} is ${options.remove ? 'no longer trusted' : 'trusted'}.`);
        });
      },
    ),
  );
  return bundle;
}

export const withChoice = (command: Command) =>
  withUser(command)
    .option('--active', 'the active model of the station')
    .addOption(new Option('--candidate <id>', 'this candidate, in whatever state').conflicts(['active', 'station']))
    .option('--demo', 'of a demonstration, made first if the data folder is empty');

export async function chosenCandidate(client: CoreClient, options: ChosenBundle): Promise<string> {
  if (options.candidate) return options.candidate;
  const { id: stationId, activeModelId } = await stationOf(client, options);
  if (activeModelId === null) throw new AppError('NO_ACTIVE_MODEL', { stationId });
  return activeModelId;
}

/** Hexadecimal as it is; else a PEM file or a bundle. A demo's key is never trusted. */
async function keyFrom(given: string): Promise<string> {
  if (/^[0-9a-f]{64}$/i.test(given)) return given.toLowerCase();
  const file = resolve(given);
  if (!existsSync(file)) {
    throw new AppError('INVALID_INPUT', {
      what: 'the key',
      problem: 'give 64 hexadecimal digits, or a file that holds it',
    });
  }
  try {
    const text = readFileSync(file, 'utf8');
    if (text.startsWith('-----BEGIN')) return hexOfKey(text);
  } catch (cause) {
    throw new AppError('INVALID_INPUT', { what: file, problem: problemOf(cause) }, { cause });
  }
  const { manifest } = openBundle(await readBundleBytes(file), file);
  refuseOtherMark({ demo: false }, file, manifest);
  return manifest.installation;
}
