import { describe, expect, it } from 'vitest';
import { candidateStrategies } from '../../../main/contract/domain.ts';
import { errorCatalogue } from '../../../main/contract/errors.ts';
import { shellTexts } from '../../../main/shell/texts.ts';
import { helpJa } from '../../../renderer/features/help/help-ja.ts';
import { listText } from '../../../renderer/lib/format.ts';
import { en } from '../../../renderer/lib/i18n/en.ts';
import { sentences } from '../../../renderer/lib/i18n/evidence.ts';
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

/** Every Japanese text of the product, wherever it is shown. */
const japanese = JSON.stringify([
  ja,
  helpJa,
  shellTexts('ja'),
  sentences.map(([, text]) => text),
  Object.values(errorCatalogue).map((entry) => entry.ja),
]);

describe('the Japanese texts', () => {
  it.each([
    ['判定の「保留」', 'UNSURE'],
    ['待ち列', 'キュー'],
    ['警報', 'アラーム'],
    ['受入試験', 'スタディ'],
    ['合格条件', 'ゲート'],
    ['設備', '装置のもの'],
    ['枝刈り', '刈込'],
    // As good as "engineer", which is another role.
    ['テクニシャン', '技術者'],
    // One colon of two, and one wave dash.
    [': ', '：'],
    ['～', '〜'],
  ])('have one word for each thing: %s, not %s', (_word, other) => {
    expect(japanese.split(other).length - 1).toBe(0);
  });

  it('end each message as a sentence, whatever it is filled with', () => {
    const open = Object.entries(errorCatalogue).filter(
      ([, { ja: texts }]) => !texts.every((text) => text.endsWith('。') || text.endsWith('\n{problems}')),
    );
    expect(open.map(([code]) => code)).toEqual([]);
  });
});

describe('a list of names', () => {
  it('tells each from the next in both languages', () => {
    expect(listText(['割れ 3 / 5', '打痕 2 / 4'], 'ja-JP')).toBe('割れ 3 / 5、打痕 2 / 4');
    expect(listText(['Crack', 'Dent'], 'en-GB')).toBe('Crack, Dent');
    expect(listText([], 'ja-JP')).toBe('');
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
