/**
 * How a backbone is changed. `none`: only the input size or the precision. `distill`: a student learns to give what the backbone gives; it starts as the backbone
 * pruned by all classes.
 */
export type Strategy = 'none' | 'pre-prune' | 'post-prune' | 'distill';
export type Precision = 'fp32' | 'int8';

/** One way to compress; what is measured of it is a trial. */
export interface Variant {
  strategy: Strategy;
  /** Share of multiply-accumulates that pruning removes, or that the student has less (0 for none). */
  ratio: number;
  /** Whole residual blocks may go, not channels alone; default: they stay. */
  shallow?: boolean | undefined;
  inputSize: number;
  precision: Precision;
}

/** Readable and unique among the variants of one run: "post-prune-40-160-int8", "post-prune-65-shallow-128-int8". */
export const variantId = ({ strategy, ratio, shallow, inputSize, precision }: Variant): string =>
  [
    strategy === 'none' ? 'size' : `${strategy}-${Math.round(100 * ratio)}`,
    ...(shallow ? ['shallow'] : []),
    inputSize,
    precision,
  ].join('-');

export const describeVariant = (
  { strategy, ratio, shallow, inputSize, precision }: Variant,
  nativeSize: number,
): string => {
  const parts: string[] = [];
  if (inputSize !== nativeSize) parts.push(`${inputSize} px instead of ${nativeSize} px`);
  const share = `${Math.round(100 * ratio)} %`;
  if (strategy === 'pre-prune') parts.push(`${share} of the arithmetic pruned (by the first task)`);
  if (strategy === 'post-prune') parts.push(`${share} of the arithmetic pruned (by all classes)`);
  if (strategy === 'distill') parts.push(`a student with ${share} less arithmetic, taught by the original`);
  if (shallow) parts.push('whole blocks of layers among it');
  if (precision === 'int8') parts.push('8-bit integers');
  return parts.length === 0 ? 'nothing changed' : parts.join(', ');
};
