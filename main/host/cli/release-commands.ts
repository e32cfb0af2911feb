import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { releaseKeysSchema } from '../../audit/update-file.ts';
import type { UpdateAbout } from '../../contract/update.ts';
import { releaseKeys } from '../../core/release-keys.ts';
import { unpackUpdate, verifyUpdate } from '../../core/updates.ts';
import { programVersion } from '../version.ts';
import type { Action, Context } from './context.ts';
import { signedIn, withAccount, type UserOption } from './station-option.ts';

interface UpdateOption extends UserOption {
  key?: string;
}

const keyOption = (text: string): string => {
  const parsed = releaseKeysSchema.element.safeParse(text.toLowerCase());
  if (!parsed.success) throw new InvalidArgumentError('give 64 hexadecimal digits');
  return parsed.data;
};
const targetOf = ({ key }: UpdateOption) => ({
  version: programVersion(),
  keys: key === undefined ? releaseKeys : [key],
});
const lines = ({ manifest, running, unfit }: UpdateAbout): string[] => [
  `genuine: Mekiki ${manifest.version} for ${manifest.platform} ${manifest.arch}, released ${manifest.releasedAt}`,
  `package: ${manifest.fileName}, ${manifest.bytes} bytes, sha256 ${manifest.sha256}`,
  `here: ${running.version} on ${running.platform} ${running.arch}${unfit.length > 0 ? `; does not fit: ${unfit.join(', ')}` : ''}`,
  ...(manifest.notes.en === '' ? [] : ['', manifest.notes.en]),
];

const withKey = (command: Command) =>
  withAccount(command).option(
    '--key <hex>',
    'believe this release key alone, not those of this build (without --user)',
    keyOption,
  );

/** Updates of the program as signed files. With --user it is done by the data folder's core and stands in its audit trail. */
export function addReleaseCommands(program: Command, action: Action): void {
  const release = program.command('release').description('updates of the program as signed files');
  withKey(release.command('verify <file>').description('prove that a file is as it was released')).action(
    action(async (context: Context, file: string, options: UpdateOption) => {
      const path = resolve(file);
      if (options.user === undefined) {
        context.out.result(await verifyUpdate(path, targetOf(options), context.signal), (about) =>
          lines(about).join('\n'),
        );
        return;
      }
      await signedIn(context, options, async (client) => {
        context.out.result(await client.call('updates.verify', { file: path }), (about) => lines(about).join('\n'));
      });
    }),
  );
  withKey(
    release
      .command('unpack <file>')
      .description('write the package of a genuine update, and say how an administrator installs it')
      .option('--to <folder>', 'folder for the package (default: that of the file)')
      .option('--allow-downgrade', 'an older version as well'),
  ).action(
    action(
      async (context: Context, file: string, options: UpdateOption & { to?: string; allowDowngrade?: boolean }) => {
        const path = resolve(file);
        const how = {
          allowDowngrade: options.allowDowngrade === true,
          ...(options.to !== undefined && { folder: resolve(options.to) }),
        };
        const tell = (made: Awaited<ReturnType<typeof unpackUpdate>>) =>
          context.out.result(made, () =>
            [
              ...lines(made),
              '',
              `${made.file} is written. Make a backup, end the program, and install it as administrator:`,
              made.command ?? 'open the file',
            ].join('\n'),
          );
        if (options.user === undefined) tell(await unpackUpdate(path, targetOf(options), how, context.signal));
        else
          await signedIn(context, options, async (client) =>
            tell(await client.call('updates.unpack', { file: path, ...how })),
          );
      },
    ),
  );
}
