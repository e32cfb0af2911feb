import { posix, win32 } from 'node:path';
import { isNode, LineCounter, parseDocument, type Document } from 'yaml';
import { isAppError } from '../../contract/errors.ts';
import { refuseUnreadable } from '../../lineio/mqtt/certificates.ts';
import { checkClientPlaces, layOut } from '../../lineio/register-map.ts';
import { droppedKeys, pathText, unknownKey, wordsOf, type Path, type Problem } from './problems.ts';
import { accountKey, configSchema, type Config } from './schema.ts';

/** Characters of a configuration file: sixty-four stations take some tens of thousands. */
const LONGEST = 1_000_000;

/**
 * Reads a configuration, YAML 1.2 or JSON (which is YAML as well).
 * @returns the configuration, or everything that is wrong with it
 */
export function readConfig(text: string): { config: Config } | { problems: Problem[] } {
  if (text.length > LONGEST)
    return {
      problems: [{ path: '', line: null, what: `it has more than ${LONGEST} characters`, next: 'Give a smaller file' }],
    };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, version: '1.2' });
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0)
    return {
      problems: broken.map(({ message, pos }) => ({
        path: '',
        line: lines.linePos(pos[0]).line,
        what: message.split(' at line ')[0]!,
        next: 'Correct the YAML or JSON there',
      })),
    };
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    // Aliases of aliases: a small file that would unfold to a huge one.
    return { problems: [{ path: '', line: null, what: (error as Error).message, next: 'Write the values out' }] };
  }
  const problem = (path: Path, words: { what: string; next: string }): Problem => ({
    path: pathText(path),
    line: lineOf(document, lines, path),
    ...words,
  });

  const parsed = configSchema.safeParse(value);
  if (!parsed.success)
    return {
      problems: parsed.error.issues.flatMap((issue) => {
        const path = issue.path as (string | number)[];
        if (issue.code === 'unrecognized_keys')
          return issue.keys.map((key) => problem([...path, key], unknownKey([...path, key], value)));
        return [problem(path, wordsOf(issue, valueAt(value, path)))];
      }),
    };
  const config = parsed.data;
  const dropped = droppedKeys(value, config).map((path) => problem(path, unknownKey(path, value)));
  const problems = [...dropped, ...contradictions(config).map(([path, what, next]) => problem(path, { what, next }))];
  return problems.length > 0 ? { problems } : { config };
}

const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((at, step) => (at as Record<string | number, unknown> | null | undefined)?.[step], value);

/** Line of the deepest part of the path that is in the file, from 1. */
function lineOf(document: Document, lines: LineCounter, path: Path): number | null {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return null;
}

/** The same for a folder in whatever way it is written, on whichever system: a file is often checked on another PC than the one it is for. */
const folderKey = (path: string): string =>
  posix.isAbsolute(path) ? posix.resolve(path) : win32.isAbsolute(path) ? win32.resolve(path).toLowerCase() : path;

type Found = [path: Path, what: string, next: string];

/** What each value allows and all of them together do not. */
function contradictions({ users, stations, events }: Config): Found[] {
  const found: Found[] = [];
  const twice = <T>(
    list: readonly T[],
    keyOf: (each: T) => string | null,
    pathOf: (i: number) => Path,
    what: string,
  ): void => {
    const seen = new Map<string, number>();
    list.forEach((each, i) => {
      const key = keyOf(each);
      if (key === null) return;
      const first = seen.get(key);
      if (first === undefined) seen.set(key, i);
      else
        found.push([
          pathOf(i),
          `${pathText(pathOf(first))} has the same ${what}`,
          'Give another one, or take one of them out',
        ]);
    });
  };
  twice(
    users,
    ({ name }) => accountKey(name),
    (i) => ['users', i, 'name'],
    'name',
  );
  twice(
    stations,
    ({ name }) => name,
    (i) => ['stations', i, 'name'],
    'name',
  );
  twice(
    stations,
    ({ camera }) =>
      camera.kind === 'gige'
        ? (camera.serial ?? camera.address!)
        : camera.kind === 'folder'
          ? folderKey(camera.path)
          : null,
    (i) => ['stations', i, 'camera'],
    'camera',
  );
  twice(
    stations,
    ({ lineOutput: output }) =>
      output?.kind === 'modbus-server' && output.port !== 0 ? `${output.address} ${output.port}` : null,
    (i) => ['stations', i, 'lineOutput'],
    'address and port',
  );
  stations.forEach(({ camera, lineOutput: output }, i) => {
    if (camera.kind === 'folder') {
      for (const key of ['path', 'moveTo'] as const) {
        const folder = camera[key];
        // Absolute on either system.
        if (folder !== undefined && !posix.isAbsolute(folder) && !win32.isAbsolute(folder))
          found.push([['stations', i, 'camera', key], `"${folder}" is relative`, 'Give the whole path']);
      }
    }
    if (output === undefined || output.kind === 'none') return;
    try {
      const layout = layOut(output.addresses);
      if (output.kind === 'modbus-client') checkClientPlaces(layout, output);
    } catch (error) {
      if (!isAppError(error, 'INVALID_INPUT')) throw error;
      found.push([
        ['stations', i, 'lineOutput', 'addresses'],
        String(error.details['problem']),
        'See the register map: lineio map',
      ]);
    }
  });
  if (events?.kind === 'mqtt' && events.tls !== null)
    try {
      refuseUnreadable(events.tls.ca);
    } catch (error) {
      if (!isAppError(error, 'INVALID_INPUT')) throw error;
      found.push([
        ['events', 'tls', 'ca'],
        String(error.details['problem']),
        'Give the certificate of the broker, or of its authority, whole',
      ]);
    }
  return found;
}
