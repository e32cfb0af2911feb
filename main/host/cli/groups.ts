import type { Command } from 'commander';
import type { Action } from './context.ts';

/** One file of commands, or a few that belong together. */
export interface CommandGroup {
  /** First words of its commands (test/unit/host/cli-groups.test.ts compares). */
  words: readonly string[];
  add(program: Command, action: Action, exitWith: (code: number) => void): Promise<void>;
}

/** In the order of --help. Each is loaded when it is asked for: most commands need no model runtime, and loading all of them takes longer than what many do. */
export const commandGroups: readonly CommandGroup[] = [
  {
    words: ['learn', 'compress'],
    add: async (program, action) => (await import('./dataset-commands.ts')).addDatasetCommands(program, action),
  },
  {
    words: ['novelty', 'anomaly', 'drift', 'label-curve'],
    add: async (program, action) => (await import('./evaluation-commands.ts')).addEvaluationCommands(program, action),
  },
  {
    words: [
      'init',
      'import',
      'queue',
      'label',
      'update',
      'knowledge',
      'candidates',
      'approve',
      'reject',
      'activate',
      'rollback',
    ],
    add: async (program, action) => (await import('./home-commands.ts')).addHomeCommands(program, action),
  },
  {
    words: ['line', 'alarms', 'reports', 'studies', 'second-labels'],
    add: async (program, action) => (await import('./station-groups.ts')).addStationGroups(program, action),
  },
  {
    words: ['golden'],
    add: async (program, action) => (await import('./golden-commands.ts')).addGoldenCommands(program, action),
  },
  {
    words: ['users', 'stations'],
    add: async (program, action) => (await import('./account-commands.ts')).addAccountCommands(program, action),
  },
  {
    words: ['config'],
    add: async (...all) => (await import('./config-commands.ts')).addConfigCommands(...all),
  },
  {
    words: ['bundle'],
    async add(program, action) {
      const { addBundleCommands } = await import('./bundle-commands.ts');
      const { addRegistryCommands } = await import('./registry-commands.ts');
      addRegistryCommands(addBundleCommands(program, action), action);
    },
  },
  {
    words: ['audit'],
    add: async (...all) => (await import('./audit-commands.ts')).addAuditCommands(...all),
  },
  {
    words: ['backup', 'check', 'restore'],
    add: async (...all) => (await import('./backup-commands.ts')).addBackupCommands(...all),
  },
  {
    words: ['backbones', 'graph'],
    add: async (program, action) => (await import('./model-commands.ts')).addModelCommands(program, action),
  },
  {
    words: ['train'],
    add: async (program, action) => (await import('./train-command.ts')).addTrainCommand(program, action),
  },
  {
    words: ['prune', 'quantize', 'distill'],
    add: async (program, action) => (await import('./tool-commands.ts')).addToolCommands(program, action),
  },
  {
    words: ['inspect', 'bench', 'soak'],
    async add(program, action, exitWith) {
      (await import('./inspect-commands.ts')).addInspectCommands(program, action, exitWith);
      // The others are commands of `bench`.
      (await import('./bench-train-command.ts')).addBenchTrainCommand(program, action);
      (await import('./bench-line-command.ts')).addBenchLineCommands(program, action, exitWith);
      (await import('./bench-compress-command.ts')).addBenchCompressCommand(program, action);
    },
  },
  {
    words: ['cameras', 'camera', 'capture'],
    add: async (program, action) => (await import('./camera-commands.ts')).addCameraCommands(program, action),
  },
  {
    words: ['simulate'],
    add: async (program, action) => (await import('./simulate-command.ts')).addSimulateCommand(program, action),
  },
  {
    words: ['lineio'],
    add: async (program, action) => (await import('./lineio-commands.ts')).addLineioCommands(program, action),
  },
  {
    words: ['events'],
    add: async (program, action) => (await import('./events-commands.ts')).addEventsCommands(program, action),
  },
  {
    words: ['serve'],
    add: async (program, action) => (await import('./serve-command.ts')).addServeCommand(program, action),
  },
  {
    words: ['release'],
    add: async (program, action) => (await import('./release-commands.ts')).addReleaseCommands(program, action),
  },
];

/** Global options that take a value. */
const VALUED = new Set(['--home', '--threads']);

/** Those that a command line needs: the one of its command, or all for help and for a word that is none. */
export function groupsFor(argv: readonly string[]): readonly CommandGroup[] {
  const word = argv.find((arg, i) => !arg.startsWith('-') && !VALUED.has(argv[i - 1] ?? ''));
  const wanted = commandGroups.filter(({ words }) => word !== undefined && words.includes(word));
  return wanted.length > 0 ? wanted : commandGroups;
}
