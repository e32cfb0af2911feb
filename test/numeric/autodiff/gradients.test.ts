import { describe, expect, it } from 'vitest';
import { gradientRules } from '../../../main/autodiff/index.ts';
import { cases, nameOf } from './cases.ts';
import { centralDifferences, evaluateBackward, prepare, relativeError, type GradientCase } from './gradient-case.ts';

const rows = cases.map((entry): [string, GradientCase] => [nameOf(entry), entry]);

describe('a gradient is what central differences in float64 say', () => {
  it.each(rows)('%s', (_name, entry) => {
    const prepared = prepare(entry);
    const values = evaluateBackward(prepared);
    for (const name of prepared.variables) {
      const gradient = prepared.gradients.get(name);
      const found = gradient === undefined ? prepared.feeds[name]!.data.map(() => 0) : values.get(gradient)!.data;
      if (gradient !== undefined) expect(values.get(gradient)!.dims, name).toEqual(prepared.feeds[name]!.dims);
      expect(relativeError(found, centralDifferences(prepared, name)), name).toBeLessThan(1e-6);
    }
  });
});

describe('a gradient is the same where it alone is wanted', () => {
  it.each(rows.filter(([, entry]) => prepare(entry).variables.length > 1))('%s', (_name, entry) => {
    const whole = prepare(entry);
    const all = evaluateBackward(whole);
    whole.variables.forEach((name, index) => {
      const alone = prepare(entry, index);
      expect(alone.backward.graph.nodes.length).toBeLessThanOrEqual(whole.backward.graph.nodes.length);
      expect([...alone.gradients.keys()]).toEqual(whole.gradients.has(name) ? [name] : []);
      if (!alone.gradients.has(name)) return;
      const found = evaluateBackward(alone).get(alone.gradients.get(name)!)!;
      expect(relativeError(found.data, all.get(whole.gradients.get(name)!)!.data), name).toBeLessThan(1e-12);
    });
  });
});

it('every row of the table has a case', () => {
  const tried = new Set(cases.map((entry) => entry.op));
  expect([...gradientRules.keys()].filter((op) => !tried.has(op))).toEqual([]);
});
