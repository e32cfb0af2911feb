import { openLinesMap, type LineCodec } from '../../store/lines-map.ts';

type Value = string | number | boolean;

/** What one camera was set to before it was only looked at, until that is put back: by whoever opens it next, if it was lost or this process was killed. */
export interface SettingsBefore {
  /** Values of features by name, in the order in which they were set. */
  readonly values: ReadonlyMap<string, Value>;
  /** On its way to the disk when it returns. The first value of a name counts: later ones are our own. */
  note(name: string, value: Value): void;
  /** All of it is put back. */
  forget(): void;
}

/** Lines beyond those in use before the file is written anew. */
const MAX_STALE = 100;

/** A line that is not ours: what it stood for stays as it is set. */
const codec: LineCodec<ReadonlyMap<string, Value>> = {
  write: (camera, values) => JSON.stringify({ camera, values: values && [...values] }),
  read(line) {
    const { camera, values } = JSON.parse(line) as { camera: string; values: [string, Value][] | null };
    return { key: camera, value: values && new Map(values) };
  },
};

/** @param file one writer at a time; need not be there. @returns of a camera by its `FoundDevice.id` */
export function openSettingsBefore(file: string): (camera: string) => SettingsBefore {
  const all = openLinesMap(file, codec, 'empty');
  return (camera) => ({
    get values() {
      return all.entries.get(camera) ?? new Map<string, Value>();
    },
    note(name, value) {
      if (!this.values.has(name)) all.put(camera, new Map([...this.values, [name, value]]));
    },
    forget() {
      if (!all.drop(camera)) return;
      all.bury(camera);
      all.compact(MAX_STALE);
    },
  });
}
