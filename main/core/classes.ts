import { checkClassName, classNamed, isOkFolder, sameName } from '../contract/class-name.ts';
import { CLASS_COLORS, type DefectClass } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { Store } from '../store/open.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { Session } from './port.ts';

type Names = DefectClass['names'];

export interface ClassService {
  handlers: HandlersOf<'classes.list' | 'classes.create' | 'classes.rename' | 'classes.merge' | 'classes.retire'>;
  /** The class that a folder of an import means: by id or by name in either language; made if there is none. BAD_CLASS_NAME. */
  forFolder(name: string, session: Session | null): DefectClass;
  /** The same class, which must be there. NOT_FOUND, BAD_CLASS_NAME. */
  known(name: string): DefectClass;
  /** `ok`, or the class of one of these names; made if there is none. */
  forNames(className: string, names: Names): DefectClass;
  /** Classes of defects that a file brought, under their ids; all of them or none. ALREADY_EXISTS for a name that is taken, by another of them too; BAD_CLASS_NAME. */
  adopt(given: readonly Pick<DefectClass, 'id' | 'names'>[], by: string, file: string): void;
  /** The class of good parts, made if missing; within the caller's transaction. */
  ensureOk(): void;
}

/** Each class gets the next one, retired ones counted: colours repeat as late as they can. */
const nextColor = (store: Store): number => (store.classes.list().length % CLASS_COLORS) + 1;

export const createClassService = (context: CoreContext): ClassService => {
  const { store } = context;
  const live = () => store.classes.list().filter((known) => !known.retired);

  const find = (name: string): DefectClass | undefined =>
    (isOkFolder(name) ? live().find((known) => known.isOk) : undefined) ?? classNamed(live(), name);

  /** 'c-' and the name; stays what it is when the class is renamed, and is given once only. */
  const newId = (name: string): string => {
    const slug = name
      .normalize('NFKC')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]+/gu, '-')
      .replace(/^-+|-+$/g, '');
    const base = `c-${[...slug].slice(0, 40).join('')}`;
    for (let n = 1; ; n += 1) {
      const id = n === 1 ? base : `${base}-${n}`;
      if (!store.classes.has(id)) return id;
    }
  };

  const complete = (names: Names): Names => {
    const [en, ja] = [names.en.trim() || names.ja, names.ja.trim() || names.en];
    return { en: checkClassName(en), ja: checkClassName(ja) };
  };
  const refuseTaken = (names: Names, except: string | null) => {
    for (const known of live()) {
      if (known.id === except) continue;
      for (const name of [names.en, names.ja]) {
        if (sameName(known.names.en, name) || sameName(known.names.ja, name)) {
          throw new AppError('ALREADY_EXISTS', { kind: 'class', id: name });
        }
      }
    }
  };
  const freeKey = (): string | null => {
    const taken = new Set(live().map((known) => known.hotKey));
    return ['1', '2', '3', '4', '5', '6', '7', '8', '9'].find((key) => !taken.has(key)) ?? null;
  };

  const insert = (made: Omit<DefectClass, 'color' | 'retired'>, by: string, from?: string): DefectClass => {
    const value = { ...made, color: nextColor(store), retired: false };
    const details = { names: made.names, ...(from !== undefined && { from }) };
    store.transaction(() => {
      store.classes.insert(value, context.now());
      store.audit.append({ user: by, action: 'classes.create', subject: made.id, details });
    });
    return value;
  };

  const create = (asked: Names, hotKey: string | null, by: string, isOk = false): DefectClass => {
    const names = complete(asked);
    refuseTaken(names, null);
    if (hotKey !== null && live().some((known) => known.hotKey === hotKey)) {
      throw new AppError('ALREADY_EXISTS', { kind: 'hot key', id: hotKey });
    }
    const id = isOk ? 'ok' : newId(names.en);
    return insert({ id, names, isOk, hotKey: hotKey ?? freeKey() }, by);
  };

  return {
    ensureOk() {
      if (!store.classes.has('ok')) create({ en: 'OK', ja: '良品' }, '1', 'system', true);
    },
    adopt(given, by, file) {
      if (given.length === 0) return;
      store.transaction(() => {
        for (const { id, names: told } of given) {
          const names = complete(told);
          // Two ids for one name: which of them is meant is for people to say.
          refuseTaken(names, null);
          insert({ id, names, isOk: false, hotKey: null }, by, file);
        }
      });
      context.emit('classes.changed', {});
    },
    known(folder) {
      const found = find(checkClassName(folder));
      if (found === undefined) throw new AppError('NOT_FOUND', { kind: 'class', id: folder });
      return found;
    },
    forFolder(folder, session) {
      const name = checkClassName(folder);
      const found = find(name);
      if (found !== undefined) return found;
      const made = create({ en: name, ja: name }, null, actor(session));
      context.emit('classes.changed', {});
      return made;
    },
    forNames(className, names) {
      if (className === 'ok') return store.classes.get('ok');
      const found = live().find((known) => sameName(known.names.en, names.en) || sameName(known.names.ja, names.ja));
      return found ?? create(names, null, 'system');
    },
    handlers: {
      'classes.list': async () => store.classes.list(),
      async 'classes.create'({ names, hotKey }, session) {
        const made = create(names, hotKey, actor(session));
        context.emit('classes.changed', {});
        return made;
      },
      async 'classes.merge'({ from, into }, session) {
        const [gone, kept] = [store.classes.get(from), store.classes.get(into)];
        if (from === into || gone.isOk || gone.retired || kept.retired) {
          throw new AppError('CONFLICT', {
            what: `class ${gone.isOk || gone.retired ? from : into}`,
            state: gone.isOk ? 'the class of good parts' : 'retired or the same',
            needed: 'two classes in use, the first of them defects',
          });
        }
        store.transaction(() => {
          let moved = 0;
          for (const station of store.stations.list()) {
            for (const label of store.labels.list(station.id)) {
              if (label.classId !== from) continue;
              // What the newest knowledge has learnt stays noted, so the label counts as fresh.
              store.labels.set({ ...label, classId: into });
              moved += 1;
            }
            // Some of them may have been doubts between just these two.
            store.queue.closeSuspects(station.id);
          }
          store.classes.retire(from);
          store.audit.append({
            user: actor(session),
            action: 'classes.merge',
            subject: from,
            details: { into, labels: moved },
          });
        });
        context.emit('classes.changed', {});
        return store.classes.get(into);
      },
      async 'classes.retire'({ classId }, session) {
        const { isOk, retired } = store.classes.get(classId);
        if (isOk || retired) {
          const state = retired ? 'retired' : 'the class of good parts';
          throw new AppError('CONFLICT', { what: `class ${classId}`, state, needed: 'a class of defects in use' });
        }
        store.transaction(() => {
          store.classes.retire(classId);
          store.audit.append({ user: actor(session), action: 'classes.retire', subject: classId });
        });
        context.emit('classes.changed', {});
        return store.classes.get(classId);
      },
      async 'classes.rename'({ classId, names: { en, ja } }, session) {
        const before = store.classes.get(classId);
        const names = complete({ en: en ?? before.names.en, ja: ja ?? before.names.ja });
        if (names.en === before.names.en && names.ja === before.names.ja) return before;
        refuseTaken(names, classId);
        store.transaction(() => {
          store.classes.rename(classId, names);
          store.audit.append({
            user: actor(session),
            action: 'classes.rename',
            subject: classId,
            details: { before: before.names, names },
          });
        });
        context.emit('classes.changed', {});
        return store.classes.get(classId);
      },
    },
  };
};
