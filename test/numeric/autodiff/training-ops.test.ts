import { describe, expect, it } from 'vitest';
import { TRAINING_DOMAIN, trainingFacts } from '../../../main/autodiff/training-ops.ts';
import { verifyStructure } from '../../../main/onnx/index.ts';
import { cases, nameOf } from './cases.ts';
import { prepare } from './gradient-case.ts';
import { referenceOps } from './reference.ts';

/*
 * That the expansion of each training op equals its direct evaluation is seen in gradients-ort.test.ts, whose graphs hold them; here: that they
 * all do, in every form that matters.
 */
const emitted = new Map<string, string[]>();
for (const entry of cases) {
  for (const { op, domain } of prepare(entry).backward.graph.nodes) {
    if (domain === TRAINING_DOMAIN) emitted.set(op, [...(emitted.get(op) ?? []), nameOf(entry)]);
  }
}

describe('training ops', () => {
  it.each([...trainingFacts.keys()].map((key) => key.split(':')[1]!))(
    '%s is emitted by a case and known to the reference',
    (op) => {
      expect(referenceOps.has(op)).toBe(true);
      expect(emitted.get(op) ?? []).not.toEqual([]);
    },
  );

  it('the structure of every gradient graph holds', () => {
    for (const entry of cases) expect(() => verifyStructure(prepare(entry).backward), nameOf(entry)).not.toThrow();
  });
});
