import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { aboutBundle } from '../../core/bundles.ts';
import { parseRef, pullBundle, pushBundle, type RegistryOptions } from '../registry.ts';
import { signIn } from './accounts.ts';
import { chosenCandidate, withChoice, type ChosenBundle } from './bundle-commands.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { ensureDemo } from './demo.ts';
import { writeOut } from './output.ts';
import { atStation, withUser, type UserOption } from './station-option.ts';
import { inTemporaryFolder } from './temporary-folder.ts';

interface RegistryOption {
  plainHttp?: boolean;
  tokenHost?: string;
}

const optionsOf = ({ signal }: Context, { plainHttp, tokenHost }: RegistryOption): RegistryOptions => ({
  user: process.env['MEKIKI_REGISTRY_USER'],
  password: process.env['MEKIKI_REGISTRY_PASSWORD'],
  plainHttp: plainHttp === true,
  tokenHost,
  signal,
});
const ACCOUNT = 'account there from MEKIKI_REGISTRY_USER and MEKIKI_REGISTRY_PASSWORD';
const PLAIN = ['--plain-http', 'without TLS (a registry on this PC never has it)'] as const;
const TOKEN_HOST = [
  '--token-host <host>',
  'that gives tokens for the account (default: the registry itself; no other one gets the password)',
] as const;

/** The same files by way of an OCI registry; account from MEKIKI_REGISTRY_USER and MEKIKI_REGISTRY_PASSWORD. */
export function addRegistryCommands(bundle: Command, action: Action): void {
  withChoice(
    bundle.command('push <ref>').description(`write a model into a registry: host[:port]/name[:tag]; ${ACCOUNT}`),
  )
    .option(...PLAIN)
    .option(...TOKEN_HOST)
    .action(
      action(async (context: Context, text: string, options: ChosenBundle & RegistryOption) => {
        const ref = parseRef(text);
        if (options.demo) await ensureDemo(context);
        await inTemporaryFolder('bundle', async (folder) => {
          const file = join(folder, 'bundle.mekiki');
          const candidateId = await withCore(context, async (client) => {
            await signIn(context, client, options.user);
            const id = await chosenCandidate(client, options);
            await client.call('bundles.export', { candidateId: id, file });
            return id;
          });
          const bytes = await readFile(file);
          const { digest } = await pushBundle(ref, bytes, {
            ...optionsOf(context, options),
            title: `${candidateId}.mekiki`,
          });
          context.out.result(
            { ref: text, digest, candidateId, bytes: bytes.length },
            () => `${candidateId} is in ${ref.host}/${ref.name}@${digest}.`,
          );
        });
      }),
    );
  withUser(
    bundle
      .command('pull <ref>')
      .description(`take the bundle of a trusted installation in from a registry, as a candidate; ${ACCOUNT}`),
  )
    .option(...PLAIN)
    .option(...TOKEN_HOST)
    .action(
      action(async (context: Context, text: string, options: UserOption & RegistryOption) => {
        const { bytes, digest } = await pullBundle(parseRef(text), optionsOf(context, options));
        await inTemporaryFolder('bundle', async (folder) => {
          const file = join(folder, 'bundle.mekiki');
          await writeOut(file, bytes, 'the folder for temporary files');
          const { installation, trusted } = await aboutBundle(context.home, file);
          await atStation(context, options, async (client, station) => {
            const candidate = await client.call('bundles.import', { stationId: station.id, file });
            context.out.result(
              { id: candidate.id, state: candidate.state, digest, valid: true, trusted, installation },
              () => `${candidate.id} is a candidate of ${station.id}; it needs an approval here.`,
            );
          });
        });
      }),
    );
}
