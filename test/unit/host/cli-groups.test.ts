import { Command, type Option } from 'commander';
import { describe, expect, test, vi } from 'vitest';
import type { CoreClient } from '../../../main/host/cli/accounts.ts';
import type { Context, Run } from '../../../main/host/cli/context.ts';
import { commandGroups, groupsFor } from '../../../main/host/cli/groups.ts';
import { newestLabels } from '../../../main/host/cli/knowledge-commands.ts';
import { createOutput } from '../../../main/host/cli/output.ts';

const optionsOf = (command: Command): readonly Option[] => [
  ...command.options,
  ...command.commands.flatMap((each) => optionsOf(each)),
];

describe('groups of commands', () => {
  test('each has the commands that it is found by', async () => {
    for (const { words, add } of commandGroups) {
      const program = new Command();
      await add(
        program,
        () => async () => {},
        () => {},
      );
      expect(program.commands.map((command) => command.name()).toSorted()).toEqual(words.toSorted());
    }
  });

  test('a command line loads the one that it names, wherever the global options stand', () => {
    const wordsFor = (...argv: string[]) => groupsFor(argv).map(({ words }) => words[0]);
    expect(wordsFor('update', '--home', 'learn')).toEqual(['init']);
    expect(wordsFor('--json', '--home', 'learn', '--threads', '2', 'backup', 'serve')).toEqual(['backup']);
    for (const all of [['--help'], ['--home', 'update'], ['help', 'update'], ['no-such-word'], []])
      expect(groupsFor(all)).toBe(commandGroups);
  });
});

describe('options', () => {
  test('none takes a word, or nothing, for a number', async () => {
    const program = new Command();
    for (const { add } of commandGroups)
      await add(
        program,
        () => async () => {},
        () => {},
      );
    const parsed = optionsOf(program).filter(({ parseArg }) => parseArg !== undefined);
    expect(parsed.length).toBeGreaterThan(50);
    const valueOf = ({ flags, parseArg }: Option, text: string): unknown => {
      try {
        return parseArg!(text, undefined);
      } catch (error) {
        expect(error, flags).toMatchObject({ code: 'commander.invalidArgument' });
        return undefined;
      }
    };
    for (const option of parsed) {
      expect(valueOf(option, 'abc'), option.flags).not.toBeNaN();
      for (const nothing of ['', ' ']) expect(valueOf(option, nothing), option.flags).not.toBeTypeOf('number');
    }
  });

  test('lists more labels than one answer of the core holds', async () => {
    const all = Array.from({ length: 25_000 }, (_, i) => ({ partId: 25_000 - i, at: '2026-01-01T00:00:00.000Z' }));
    const call = vi.fn(async (_: string, { limit, before }: { limit: number; before?: { partId: number } }) => {
      const from = before === undefined ? 0 : all.findIndex(({ partId }) => partId === before.partId) + 1;
      return all.slice(from, from + Math.min(limit, 10_000));
    });
    const list = (limit: number) => newestLabels({ call } as unknown as CoreClient, { stationId: 'st-1' }, limit);
    expect(await list(15_000)).toEqual(all.slice(0, 15_000));
    expect(call.mock.calls.map(([, { limit }]) => limit)).toEqual([10_000, 5_000]);
    expect(await list(100_000)).toEqual(all);
  });

  test.for([
    'capture 24001 --count 1 --out frames --exposure-us abc',
    'capture 24001 --count 1 --out frames --exposure-us 0',
    'capture 24001 --count 1 --out frames --pixel-format=',
    'knowledge labels --limit abc',
    'compress set --ratio 0',
    'serve --port=',
    'queue list --limit 10001',
  ])('%s is refused before anything is done', async (line) => {
    let ran = false;
    const action = () => async () => {
      ran = true;
    };
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
    const argv = line.split(' ');
    for (const { add } of groupsFor(argv)) await add(program, action, () => {});
    await expect(program.parseAsync(argv, { from: 'user' })).rejects.toMatchObject({
      code: 'commander.invalidArgument',
    });
    expect(ran).toBe(false);
  });

  test.for([
    ['learn set --epochs 3', '--epochs with --method analytic'],
    ['learn set --exemplars 20', '--exemplars with --method analytic'],
    ['learn set --method lwf --exemplars 20', '--exemplars with --method lwf'],
    ['learn set --method icarl --adapt-first-task auto', '--adapt-first-task with --method icarl'],
    ['compress set --strategy none --ratio 0.4', '--ratio with --strategy none'],
    ['compress set --strategy none --importance l1', '--importance with --strategy none'],
    ['compress set --strategy none --hedge 0.1', '--hedge with --strategy none'],
    ['compress set --strategy pre-prune --student pruned', '--student with --strategy pre-prune'],
    ['compress set --strategy post-prune --teach tasks', '--teach with --strategy post-prune'],
  ] as const)('%s is refused: it would change nothing', async ([line, what]) => {
    const context: Context = { out: createOutput(true), home: 'none', threads: 1, signal: AbortSignal.abort() };
    const action =
      <A extends unknown[]>(run: Run<A>) =>
      (...args: unknown[]) =>
        run(context, ...(args.slice(0, -1) as A));
    const program = new Command();
    const argv = line.split(' ');
    for (const { add } of groupsFor(argv)) await add(program, action, () => {});
    await expect(program.parseAsync(argv, { from: 'user' })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      details: { what },
    });
  });
});
