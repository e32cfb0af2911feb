import type { DefectClass } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { CoreClient } from './accounts.ts';

/** Id of the class with this id or name (either language); null: there is none. */
export async function findClass(client: CoreClient, name: string): Promise<string | null> {
  const classes = await client.call('classes.list', {});
  const isIt = ({ id, names }: DefectClass) => [id, names.en, names.ja].includes(name);
  return classes.find(isIt)?.id ?? null;
}

/** @throws NOT_FOUND */
export async function knownClass(client: CoreClient, name: string): Promise<string> {
  const found = await findClass(client, name);
  if (found === null) throw new AppError('NOT_FOUND', { kind: 'class', id: name });
  return found;
}

/** English names by id; an NG part may have no class. */
export async function classNames(client: CoreClient): Promise<(classId: string | null) => string> {
  const names = new Map((await client.call('classes.list', {})).map((each) => [each.id, each.names.en]));
  return (classId) => (classId === null ? 'no class' : (names.get(classId) ?? classId));
}
