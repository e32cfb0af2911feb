import { describe, expect, it } from 'vitest';
import { candidateStrategies } from '../../../main/contract/domain.ts';
import { en } from '../../../renderer/lib/i18n/en.ts';
import { fill } from '../../../renderer/lib/i18n/fill.ts';
import { ja } from '../../../renderer/lib/i18n/ja.ts';

const namesIn = (text: string): string[] => [...text.matchAll(/\{(\w+)/g)].map(([, name]) => name!).sort();
const unique = (names: string[]): string[] => [...new Set(names)];

describe('the texts of the window', () => {
  it('has every key in both languages', () => {
    expect(Object.keys(ja).sort()).toEqual(Object.keys(en).sort());
  });

  it('has no empty text, and none that was left in the other language', () => {
    const same = Object.entries(en).filter(
      ([key, text]) => ja[key as keyof typeof en] === text && /[a-z]{4,}/i.test(text),
    );
    // Units, signs and words that are written alike.
    expect(same.map(([key]) => key)).toEqual(['approve.macs', 'models.mmacs']);
    for (const [key, text] of Object.entries({ ...en, ...ja })) expect(text.trim(), key).not.toBe('');
  });

  it('never asks in Japanese for a value that English does not have', () => {
    for (const [key, text] of Object.entries(en)) {
      const known = unique(namesIn(text));
      for (const name of namesIn(ja[key as keyof typeof en])) expect(known, key).toContain(name);
    }
  });

  it('name each way in which a candidate can be made, and no other', () => {
    const named = Object.keys(en).filter((key) => key.startsWith('strategy.'));
    expect(named.sort()).toEqual(candidateStrategies.map((strategy) => `strategy.${strategy}`).sort());
  });
});

describe('fill', () => {
  it('groups numbers as the language does it and leaves texts alone', () => {
    expect(fill('Part {n} by {who}', { n: 16812, who: '007' }, 'en-GB')).toBe('Part 16,812 by 007');
  });
  it('chooses the word by the number', () => {
    expect(fill('{n:part:parts}', { n: 1 }, 'en-GB')).toBe('1 part');
    expect(fill('{n:part:parts} left', { n: 0 }, 'en-GB')).toBe('0 parts left');
  });
  it('keeps what nobody gave visible', () => {
    expect(fill('{missing}', {}, 'en-GB')).toBe('{missing}');
  });
});
