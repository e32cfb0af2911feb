/** Where the code of a thread lies, named from its caller: source beside source, bundle beside bundle. */
export const threadUrl = (path: string, callerUrl: string): URL => {
  const ending = /\.[cm]?[jt]s$/.exec(new URL(callerUrl).pathname)?.[0] ?? '.js';
  return new URL(`${path}${ending}`, callerUrl);
};
