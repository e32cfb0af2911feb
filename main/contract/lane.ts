/** Does one thing after the other, in the order asked for. What fails stops nobody after it. */
export type Lane = <T>(work: () => Promise<T> | T) => Promise<T>;

export function createLane(): Lane {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}
