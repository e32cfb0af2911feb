import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { commandGroups, groupsFor } from '../../../main/host/cli/groups.ts';

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
