/** A message over the screen. An error stays until it is dismissed and follows a switch of language. */
export interface Notice {
  id: number;
  /** null: news. */
  error: unknown;
  text: string;
}

const MOST_NEWS = 3;
/** More than anybody reads at once; without a bound a fault of every part would fill the memory of a window that nobody looks at. */
const MOST_FAILURES = 20;

export const isFailure = ({ error }: Notice): boolean => error !== null;

/** Those that stay, in their order: the last news and the last failures, neither at the expense of the other. */
export function keptNotices(notices: readonly Notice[]): Notice[] {
  const gone = new Set([
    ...notices.filter((notice) => !isFailure(notice)).slice(0, -MOST_NEWS),
    ...notices.filter(isFailure).slice(0, -MOST_FAILURES),
  ]);
  return notices.filter((notice) => !gone.has(notice));
}
