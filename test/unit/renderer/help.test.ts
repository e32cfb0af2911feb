import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { areas } from '../../../renderer/app/areas.ts';
import { roundStep, roundSteps, type RoundFacts } from '../../../renderer/app/first-round.ts';
import { helpEn } from '../../../renderer/features/help/help-en.ts';
import { helpJa } from '../../../renderer/features/help/help-ja.ts';
import { en } from '../../../renderer/lib/i18n/en.ts';
import { ja } from '../../../renderer/lib/i18n/ja.ts';
import { gradeOf } from '../../../renderer/features/reports/study-grade.ts';

describe('the help', () => {
  it('has every area and every entry in both languages, none empty or left in the other', () => {
    expect(Object.keys(helpEn)).toEqual([...areas]);
    for (const area of areas) {
      const [en, ja] = [helpEn[area], helpJa[area]] as Record<string, readonly [string, string]>[];
      expect(Object.keys(ja!)).toEqual(Object.keys(en!));
      for (const [key, [word, text]] of Object.entries(ja!)) {
        expect(word.length * text.length, key).toBeGreaterThan(0);
        expect(text, key).toMatch(/[\u3040-\u30ff\u4e00-\u9fff]/);
        expect(en![key]![1], key).not.toMatch(/[\u3040-\u30ff\u4e00-\u9fff]/);
      }
    }
  });
});

describe('the keys that the help names', () => {
  it.each([
    ['live', 'live/Live.svelte'],
    ['label', 'label/LabelBench.svelte'],
    ['study', 'reports/StudySession.svelte'],
  ] as const)('are those of %s', (place, file) => {
    const source = readFileSync(new URL(`../../../renderer/features/${file}`, import.meta.url), 'utf8');
    const heard = [...source.matchAll(/pressed === '(\w)'/g)].map(([, key]) => key!.toUpperCase());
    for (const texts of [en, ja]) {
      const named = texts[`help.keysOf.${place}`].match(/(?<=^|· )[A-Z12](?= )/g) ?? [];
      expect([...named].sort()).toEqual(heard.sort());
    }
  });
});

describe('the first round', () => {
  const base: RoundFacts = {
    line: { parts: 0 },
    fresh: 0,
    knowledge: [{ id: 'k1' }],
    candidates: [{ knowledgeId: 'k1', state: 'active' }],
  };
  const learnt = { ...base, fresh: 0, knowledge: [{ id: 'k1' }, { id: 'k2' }] };
  const with2 = (...states: ('candidate' | 'submitted' | 'approved' | 'active' | 'rejected')[]): RoundFacts => ({
    ...learnt,
    candidates: [...base.candidates, ...states.map((state) => ({ knowledgeId: 'k2', state }))],
  });
  it('goes through its steps in order, by what is there', () => {
    expect(
      [
        base,
        { ...base, line: { parts: 3 } },
        { ...base, fresh: 2 },
        learnt,
        with2('candidate', 'submitted'),
        with2('approved'),
      ].map(roundStep),
    ).toEqual([...roundSteps]);
    expect(roundStep(with2('active'))).toBeNull();
    // A rejected one is no end: the next candidate is due.
    expect(roundStep(with2('rejected'))).toBe('compress');
  });
});

describe('the result of a study', () => {
  const share = (count: number, of: number) => ({ count, of, low: 0, high: 1 });
  it('is the worst of its figures, by the limits of AIAG', () => {
    const good = { right: share(45, 50), escape: share(1, 50), overkill: share(5, 100) };
    expect(gradeOf(good)).toBe('good');
    expect(gradeOf({ ...good, right: share(44, 50) })).toBe('marginal');
    expect(gradeOf({ ...good, escape: share(2, 50) })).toBe('marginal');
    expect(gradeOf({ ...good, escape: share(3, 50) })).toBe('bad');
    expect(gradeOf({ ...good, overkill: share(11, 100) })).toBe('bad');
  });
});
