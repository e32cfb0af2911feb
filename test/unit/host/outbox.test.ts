import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createOutbox } from '../../../main/host/line/outbox.ts';
import { spoolRecord } from '../../helpers/spool-record.ts';

/** What became of each number, in the order in which it was handed over. */
const outboxOf = (lastSeq: number) => {
  const emitted: { seq: number; imageSha: string | null }[] = [];
  const outbox = createOutbox(lastSeq, (records) => {
    emitted.push(...records.map(({ seq, imageSha }) => ({ seq, imageSha })));
  });
  return { outbox, emitted };
};

test('a record is handed over when its verdict and its picture are known, and those before it', () => {
  const { outbox, emitted } = outboxOf(0);
  for (const seq of [1, 2, 3]) outbox.expect(seq);
  outbox.verdict(spoolRecord(1));
  outbox.verdict(spoolRecord(2));
  outbox.archived(2, 'b');
  outbox.flush();
  expect(emitted).toEqual([]);
  outbox.archived(1, null);
  outbox.flush();
  expect(emitted).toEqual([
    { seq: 1, imageSha: null },
    { seq: 2, imageSha: 'b' },
  ]);
  expect(outbox.emitted).toBe(2);
  expect(outbox.waiting).toBe(1);
});

test('a verdict of the watchdog that is heard of before its frame holds nothing up', () => {
  const { outbox, emitted } = outboxOf(4);
  outbox.verdict(spoolRecord(6));
  outbox.expect(5);
  outbox.verdict(spoolRecord(5));
  outbox.archived(5, 'a');
  outbox.expect(6);
  outbox.archived(6, 'b');
  outbox.flush();
  expect(emitted.map(({ seq }) => seq)).toEqual([5, 6]);
  expect(outbox.waiting).toBe(0);
});

test('whatever is heard of first, each number is handed over once, in order, and none is kept', () => {
  const facts = fc.integer({ min: 1, max: 12 }).chain((frames) =>
    fc.shuffledSubarray(
      Array.from({ length: frames * 3 }, (_, i) => i),
      { minLength: frames * 3 },
    ),
  );
  fc.assert(
    fc.property(facts, (order) => {
      const { outbox, emitted } = outboxOf(0);
      const frames = order.length / 3;
      let next = 1;
      for (const fact of order) {
        const seq = (fact % frames) + 1;
        // Numbers are expected in order, whenever that is.
        if (fact < frames) outbox.expect(next++);
        else if (fact < 2 * frames) outbox.verdict(spoolRecord(seq));
        else outbox.archived(seq, `${seq}`);
        outbox.flush();
      }
      expect(emitted).toEqual(Array.from({ length: frames }, (_, i) => ({ seq: i + 1, imageSha: `${i + 1}` })));
      expect(outbox.waiting).toBe(0);
    }),
  );
});
