import type { DefectClass } from './domain.ts';
import { AppError } from './errors.ts';

const LONGEST = 64;
const OK_FOLDERS = new Set(['ok', 'good', '良品']);

/** Whether a folder of labelled pictures is that of good parts. */
export const isOkFolder = (name: string): boolean => OK_FOLDERS.has(name.toLowerCase());

/**
 * A class name as a person may use it, as it is kept: composed (NFC), trimmed, of one line, with a letter or a digit, and nothing
 * that could leave its folder or break a screen. Names come from folders and from typing.
 * @throws BAD_CLASS_NAME
 */
export function checkClassName(name: string): string {
  const normal = name.normalize('NFC').trim();
  const refuse = (problem: string) => new AppError('BAD_CLASS_NAME', { name: name.slice(0, LONGEST), problem });
  if (normal === '') throw refuse('it is empty');
  if (normal.length > LONGEST) throw refuse(`it is longer than ${LONGEST} characters`);
  if (/[/\\]/.test(normal) || normal.startsWith('.')) throw refuse('it looks like a path');
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(normal)) throw refuse('it holds a control character');
  if (!/[\p{L}\p{N}]/u.test(normal)) throw refuse('it holds no letter and no digit');
  return normal;
}

/** Whether two names are one: case and width make no other class. */
export const sameName = (a: string, b: string): boolean =>
  a.normalize('NFKC').toLowerCase() === b.normalize('NFKC').toLowerCase();

/** By id, else by name in either language. */
export const classNamed = (classes: readonly DefectClass[], name: string): DefectClass | undefined =>
  classes.find(({ id }) => id === name) ??
  classes.find(({ names }) => sameName(names.en, name) || sameName(names.ja, name));
