import type { Candidate } from '../../../main/contract/domain.ts';
import { tOr } from '../../lib/i18n/language.svelte.ts';

/** Nothing of the backbone was made smaller: there is nothing to gain or to lose beside it. */
export const isUncompressed = ({ strategy, precision }: Pick<Candidate, 'strategy' | 'precision'>): boolean =>
  (strategy === 'none' || strategy === 'good-parts') && precision === 'fp32';

/** "Post-pruned 55 % · INT8"; without the precision where there is no room. */
export function methodText(
  { strategy, ratio, precision }: Pick<Candidate, 'strategy' | 'ratio' | 'precision'>,
  withPrecision = true,
): string {
  const name = tOr(`strategy.${strategy}`, strategy);
  const share = ratio > 0 && ratio < 1 ? ` ${Math.round(100 * ratio)} %` : '';
  return withPrecision ? `${name}${share} · ${precision === 'int8' ? 'INT8' : 'fp32'}` : `${name}${share}`;
}
