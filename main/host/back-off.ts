/** Pauses before what crashed is started again: none after one crash, for a line stands still meanwhile; then growing ones. */
export interface BackOff {
  /** After the second crash in a row; doubled with each further one. */
  firstMs: number;
  maxMs: number;
  /** The crash of what lived so long is a first one. */
  stableMs: number;
}
const defaultBackOff: BackOff = { firstMs: 250, maxMs: 10_000, stableMs: 30_000 };

export interface Pauses {
  /** In a row. */
  readonly crashes: number;
  /** ms before it is started again. @param livedMs how long it lived before this crash */
  afterCrash(livedMs: number): number;
  reset(): void;
}

export function createPauses({ firstMs, maxMs, stableMs }: BackOff = defaultBackOff): Pauses {
  let crashes = 0;
  return {
    get crashes() {
      return crashes;
    },
    afterCrash(livedMs) {
      if (livedMs >= stableMs) crashes = 0;
      crashes += 1;
      return crashes === 1 ? 0 : Math.min(firstMs * 2 ** (crashes - 2), maxMs);
    },
    reset() {
      crashes = 0;
    },
  };
}
