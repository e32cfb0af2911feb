import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ensureElectron } from '../../../main/host/build/electron.mjs';

const program =
  { win32: 'electron.exe', darwin: 'Electron.app/Contents/MacOS/Electron' }[process.platform as string] ?? 'electron';
/** Writes what Electron's own writes, in its order, and counts. */
const INSTALL = `
const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');
const { dirname } = require('node:path');
process.chdir(__dirname);
appendFileSync('runs', '.');
mkdirSync(dirname('dist/${program}'), { recursive: true });
writeFileSync('dist/${program}', 'whole');
writeFileSync('dist/version', 'v45.4.1');
writeFileSync('path.txt', '${program}');
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-electron-'));
  write('package.json', JSON.stringify({ name: 'electron', version: '45.4.1' }));
  write('install.js', INSTALL);
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (path: string, text: string) => {
  mkdirSync(join(folder, path, '..'), { recursive: true });
  writeFileSync(join(folder, path), text);
};
const ensured = () => {
  const said: string[] = [];
  return { ...ensureElectron(folder, (line) => said.push(line)), said };
};

test('what was not unpacked to the end, or is of another version, is fetched again, and once', () => {
  write(`dist/${program}`, 'a part');
  write('dist/version', '45.4.1');
  const whole = { file: join(folder, 'dist', program) };
  expect(ensured()).toEqual({ ...whole, said: ['fetching Electron once …'] });
  expect(readFileSync(whole.file, 'utf8')).toBe('whole');
  expect(ensured()).toEqual({ ...whole, said: [] });
  write('dist/version', '44.0.0');
  expect(ensured().said).toHaveLength(1);
  expect(readFileSync(join(folder, 'runs'), 'utf8')).toBe('..');
});

test('where it cannot be fetched, that is told, and a part is not started', () => {
  write('install.js', 'process.exit(1)');
  write(`dist/${program}`, 'a part');
  expect(ensured()).toMatchObject({ why: 'Electron could not be fetched' });
  expect(existsSync(join(folder, 'path.txt'))).toBe(false);
  expect(ensureElectron(join(folder, 'none'), () => {})).toEqual({ why: 'Electron is not installed' });
});
