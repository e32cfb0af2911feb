import { fill } from './fill.ts';

/** The same said in both languages; `{name}` stands for a figure, a name, or another such text. */
export type Pair = readonly [english: string, japanese: string];

/**
 * Says in Japanese what the core says in English; what is not known stays as it is.
 * @param pieceOf what stands for a name within a text. Left out: as it stands, which is right for what people named
 */
export function translator(
  pairs: readonly Pair[],
  pieceOf: (piece: string) => string = (piece) => piece,
): (text: string) => string {
  const patterns = pairs.map(
    ([english]) =>
      new RegExp(`^${english.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&').replaceAll(/\{(\w+)\}/g, '(?<$1>.+?)')}$`, 'u'),
  );
  return (text) => {
    for (const [i, pattern] of patterns.entries()) {
      const found = pattern.exec(text);
      if (!found) continue;
      const values = Object.entries(found.groups ?? {}).map(([name, value]) => [name, pieceOf(value)]);
      return fill(pairs[i]![1], Object.fromEntries(values), 'ja-JP');
    }
    return text;
  };
}
