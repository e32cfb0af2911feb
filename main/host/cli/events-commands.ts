import { readFile } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import { fileError } from '../../contract/errors.ts';
import type { MethodInput } from '../../contract/methods.ts';
import { signIn } from './accounts.ts';
import { ipAddress, wholeNumber, type Action, type Context } from './context.ts';
import { withCore } from './core-client.ts';
import { UsageError } from './output.ts';
import { withAccount, type UserOption } from './station-option.ts';

interface SetOptions extends UserOption {
  address?: string;
  port?: number;
  prefix?: string;
  brokerUser?: string;
  ca?: string;
  serverName?: string;
  tls: boolean;
  off?: boolean;
}

const readCertificates = (file: string): Promise<string> =>
  readFile(file, 'utf8').catch((cause: unknown) => {
    throw fileError('file', file, cause);
  });

/** Events for the plant's other systems (main/lineio/mqtt): `events show`, `events set`. */
export function addEventsCommands(program: Command, action: Action): void {
  const events = program.command('events').description("events for the plant's other systems (MQTT)");
  withAccount(events.command('show').description('where events are sent, and how it stands')).action(
    action(async (context: Context, options: UserOption) => {
      await withCore(context, async (client) => {
        await signIn(context, client, options.user);
        context.out.result(await client.call('events.get', {}), (view) => JSON.stringify(view, null, 2));
      });
    }),
  );
  withAccount(
    events
      .command('set')
      .description('send events to a broker, or to nobody; the password of its user is read from MEKIKI_MQTT_PASSWORD')
      .option('--address <ip>', 'of the broker; names are not looked up', ipAddress)
      .option('--port <n>', 'its port', wholeNumber(1, 65_535))
      .option('--prefix <topic>', 'first levels of every topic')
      .option('--broker-user <name>', 'account at the broker')
      .option(
        '--ca <file>',
        'encrypted (TLS): certificate of the broker or of its authority, PEM; no other is believed',
      )
      .option('--server-name <name>', 'name in the certificate of the broker (default: its address)')
      .addOption(new Option('--no-tls', 'in clear').conflicts(['ca', 'serverName']))
      .option('--off', 'tell nobody'),
  ).action(
    action(async (context: Context, { address, port, prefix, brokerUser, off, user, ...secure }: SetOptions) => {
      const ca = secure.ca === undefined ? undefined : await readCertificates(secure.ca);
      await withCore(context, async (client) => {
        await signIn(context, client, user);
        const before = (await client.call('events.get', {})).config;
        const tlsBefore = before.kind === 'mqtt' ? before.tls : null;
        const tls = ca === undefined ? tlsBefore : { serverName: '', ...tlsBefore, ca };
        if (tls === null && secure.serverName !== undefined)
          throw new UsageError(
            '--server-name',
            'give --ca as well: without it all goes out in clear, the password too',
          );
        const wanted = {
          ...before,
          kind: 'mqtt' as const,
          tls:
            secure.tls && tls
              ? { ...tls, ...(secure.serverName !== undefined && { serverName: secure.serverName }) }
              : null,
          ...(address !== undefined && { address }),
          ...(port !== undefined && { port }),
          ...(prefix !== undefined && { prefix }),
          ...(brokerUser !== undefined && { user: brokerUser }),
        };
        // What is missing is told by the core: it parses all input.
        const config = (off ? { kind: 'none' } : wanted) as MethodInput<'events.set'>['config'];
        const password = process.env['MEKIKI_MQTT_PASSWORD'];
        const view = await client.call('events.set', { config, ...(password !== undefined && { password }) });
        context.out.result(view, ({ config: now }) =>
          now.kind === 'none'
            ? 'Nobody is told.'
            : `Events go to ${now.address}:${now.port} ${now.tls ? 'over TLS' : 'in clear'} below ${now.prefix}/.`,
        );
      });
    }),
  );
}
