export const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

/** A form after what it is of has changed elsewhere: fields that were typed into since `before` stay, every other one is that of `now`. */
export function typedOnto<T extends object>(typed: T, before: T, now: T): T {
  const keep = (key: keyof T) => !same(typed[key], before[key]);
  return Object.fromEntries(
    Object.entries(now).map(([key, value]) => [key, keep(key as keyof T) ? typed[key as keyof T] : value]),
  ) as T;
}
