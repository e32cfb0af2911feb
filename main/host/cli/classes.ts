import { classNamed, isOkFolder } from '../../contract/class-name.ts';
import { AppError } from '../../contract/errors.ts';
import type { CoreClient } from './accounts.ts';

/** Id of the class in use of this id or name, else of that of good parts where a folder of this name would be theirs; made if there is none. @throws BAD_CLASS_NAME */
export async function usableClass(client: CoreClient, name: string): Promise<string> {
  const inUse = (await client.call('classes.list', {})).filter(({ retired }) => !retired);
  const found = classNamed(inUse, name) ?? (isOkFolder(name) ? inUse.find(({ isOk }) => isOk) : undefined);
  return (found ?? (await client.call('classes.create', { names: { en: name, ja: name } }))).id;
}

/** Id of a class that is there, before all one in use: the name of a retired one may have been given again. @throws NOT_FOUND */
export async function knownClass(client: CoreClient, name: string): Promise<string> {
  const classes = await client.call('classes.list', {});
  const inUse = classes.filter(({ retired }) => !retired);
  const found = classNamed(inUse, name) ?? classNamed(classes, name);
  if (found === undefined) throw new AppError('NOT_FOUND', { kind: 'class', id: name });
  return found.id;
}

/** English names by id; an NG part may have no class. */
export async function classNames(client: CoreClient): Promise<(classId: string | null) => string> {
  const names = new Map((await client.call('classes.list', {})).map((each) => [each.id, each.names.en]));
  return (classId) => (classId === null ? 'no class' : (names.get(classId) ?? classId));
}
