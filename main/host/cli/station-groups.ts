import type { Command } from 'commander';
import { alarmCommands } from './alarm-commands.ts';
import type { Action } from './context.ts';
import { lineCommands } from './line-commands.ts';
import { reportCommands } from './report-commands.ts';
import { secondLabelCommands } from './second-label-commands.ts';
import { addStationGroup } from './station-command.ts';
import { studyCommands } from './study-commands.ts';

/** What a station does and has done, asked of the contract. */
export function addStationGroups(program: Command, action: Action): void {
  for (const group of [lineCommands, alarmCommands, reportCommands, studyCommands, secondLabelCommands])
    addStationGroup(program, action, group);
}
