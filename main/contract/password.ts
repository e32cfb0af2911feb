import { AppError } from './errors.ts';

/*
 * What a new password must not be (NIST SP 800-63B-4, section 3.1.1.2: a block list of common, expected and context-specific words; no rule about kinds of characters, no forced
 * change). Length is checked by the input schema.
 */

/** What is tried first: heads every published list of leaked passwords, or is the name of what it protects. */
const COMMON = [
  'password',
  'passw0rd',
  'p@ssw0rd',
  'qwerty',
  'qwertz',
  'azerty',
  'asdfgh',
  'zxcvbn',
  '1q2w3e',
  'q1w2e3',
  'abc123',
  'iloveyou',
  'letmein',
  'welcome',
  'dragon',
  'monkey',
  'football',
  'baseball',
  'sunshine',
  'princess',
  'trustno1',
  'superman',
  'admin',
  'administrator',
  'supervisor',
  'operator',
  'technician',
  'engineer',
  'changeme',
  'default',
  'secret',
  'mekiki',
  'パスワード',
];

const DIGITS_AT_THE_END = /[\d!?.]*$/u;

/** All characters alike, or each one more or one less than the one before: 12345678, hgfedcba. */
const isRow = (characters: readonly number[]): boolean => {
  const steps = new Set(characters.slice(1).map((code, i) => code - characters[i]!));
  return steps.size <= 1 && [0, 1, -1].includes([...steps][0] ?? 0);
};

/** Null: may be used. `common`: a known word, with or without digits after it. `row`: 12345678, aaaaaaaa, abababab. `name`: little more than the account's name. */
export const weaknessOf = (password: string, accountName: string): 'common' | 'row' | 'name' | null => {
  const plain = password.normalize('NFKC').trim().toLowerCase();
  const characters = [...plain].map((character) => character.codePointAt(0)!);
  if (isRow(characters) || new Set(characters).size <= 2) return 'row';
  const word = plain.replace(DIGITS_AT_THE_END, '');
  if (word === '' && isRow([...new Set(characters)])) return 'row';
  if (COMMON.some((common) => word === common || plain === common || plain === common.repeat(2))) return 'common';
  const name = accountName.normalize('NFKC').trim().toLowerCase();
  // A name of one or two letters is in many good passwords.
  if ([...name].length >= 3 && plain.includes(name) && [...plain].length - [...name].length < 6) return 'name';
  return null;
};

/** WEAK_PASSWORD. */
export const refuseWeak = (password: string, accountName: string): void => {
  if (weaknessOf(password, accountName) !== null) throw new AppError('WEAK_PASSWORD');
};
