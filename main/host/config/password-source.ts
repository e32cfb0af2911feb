import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { problemOf } from '../../contract/errors.ts';
import { configInvalid } from './problems.ts';
import type { PasswordSource } from './schema.ts';
import { decodeText } from './text-file.ts';

/**
 * The password that a configuration file names a source for.
 * @param file the configuration file: a relative password file is looked for beside it
 * @param place such as `users["hana"].password`, for messages
 * @throws CONFIG_INVALID where it cannot be read, or is none that anybody could type
 */
export function passwordFrom(file: string, place: string, source: PasswordSource): string {
  const refused = (what: string, next: string) => configInvalid(file, [{ path: place, line: null, what, next }]);
  const typeable = (password: string, where: string, next: string): string => {
    if (/\p{Cc}/u.test(password)) throw refused(`${where} holds a control character`, next);
    return password;
  };
  if ('environment' in source) {
    const password = process.env[source.environment];
    if (!password) throw refused(`${source.environment} is not set`, 'Set it to that password');
    return typeable(password, source.environment, 'Set it to the password alone');
  }
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(resolve(dirname(file), source.file));
  } catch (error) {
    throw refused(problemOf(error), 'Give a file whose first line is the password');
  }
  const text = decodeText(bytes);
  if (text === null) throw refused(`${source.file} is not UTF-8 text`, 'Save it as UTF-8');
  const [password = ''] = text.split(/\r?\n/);
  if (password === '') throw refused(`the first line of ${source.file} is empty`, 'Write the password there');
  return typeable(
    password,
    `the first line of ${source.file}`,
    'Save it as UTF-8, with nothing but the password in it',
  );
}
