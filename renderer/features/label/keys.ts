import type { DefectClass } from '../../../main/contract/domain.ts';

export interface ClassKey {
  defectClass: DefectClass;
  /** 1 to 9; null: no key is left. */
  key: string | null;
}

/** The class of good parts first, then in order of creation; each with its own hot key or the next free digit. */
export function keyOfClasses(classes: readonly DefectClass[]): ClassKey[] {
  const usable = classes.filter(({ retired }) => !retired);
  const ordered = [...usable.filter(({ isOk }) => isOk), ...usable.filter(({ isOk }) => !isOk)];
  const digits = ['1', '2', '3', '4', '5', '6', '7', '8', '9'];
  const own = new Map<string, string>();
  for (const { id, hotKey } of ordered) {
    if (hotKey !== null && digits.includes(hotKey) && ![...own.values()].includes(hotKey)) own.set(id, hotKey);
  }
  const free = digits.filter((digit) => ![...own.values()].includes(digit));
  return ordered.map((defectClass) => ({ defectClass, key: own.get(defectClass.id) ?? free.shift() ?? null }));
}

/** Labels per minute over the last ten labels, by their times in ms; null until there are two. */
export function labelsPerMinute(times: readonly number[]): number | null {
  const recent = times.slice(-10);
  const span = (recent.at(-1) ?? 0) - (recent[0] ?? 0);
  return recent.length < 2 || span <= 0 ? null : ((recent.length - 1) * 60_000) / span;
}
