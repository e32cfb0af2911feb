import type { Parity } from '../../contract/domain.ts';
import { argmax } from '../../learning/evaluation.ts';
import { worseDifference } from './gates.ts';

/** Whether two models say the same of the same pictures. @param pairs logits of each picture by one and by the other, in the same order of classes */
export function parityOf(pairs: Iterable<readonly [given: ArrayLike<number>, wanted: ArrayLike<number>]>): Parity {
  const parity = { images: 0, equal: 0, maxLogitDifference: 0 };
  for (const [given, wanted] of pairs) {
    parity.images += 1;
    if (argmax(given, 0, given.length) === argmax(wanted, 0, wanted.length)) parity.equal += 1;
    for (let c = 0; c < wanted.length; c += 1) {
      parity.maxLogitDifference = worseDifference(parity.maxLogitDifference, Math.abs(given[c]! - wanted[c]!));
    }
  }
  return parity;
}
