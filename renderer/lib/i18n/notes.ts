import type { Language } from '../../../main/contract/errors.ts';
import { ja } from './ja.ts';
import { translator, type Pair } from './translator.ts';

/** What camera, decoder and line note of a part (part.notes). */
export const notes: readonly Pair[] = [
  ['converted from palette', 'パレットから変換'],
  ['converted from 16 bit', '16 ビットから変換'],
  ['converted from {format}', '{format} から変換'],
  ['transparency removed', '透明度を除去'],
  ['transparency laid on black', '透明部分を黒に変換'],
  ['turned by its EXIF orientation', 'EXIF の向きに合わせて回転'],
  ['{format} shown in 8 bits per channel', '{format} を 8 ビットで表示'],
  ['lot {lot}', 'ロット {lot}'],
  ['frame {n} of {of} decides: {verdicts}', '{of} 枚中 {n} 枚目の判定を採用: {verdicts}'],
];

/** More than one: a lot may be called "ok". */
const VERDICTS = /^(?:ok|ng|unsure)(?:, (?:ok|ng|unsure))+$/u;
const verdictsIn = (piece: string): string =>
  VERDICTS.test(piece)
    ? piece
        .split(', ')
        .map((verdict) => ja[`verdict.${verdict as 'ok' | 'ng' | 'unsure'}`])
        .join('、')
    : piece;
const inJapanese = translator(notes, verdictsIn);

/** A note of a part in a language; one that is not known stays as it is. */
export const noteIn = (language: Language, note: string): string => (language === 'en' ? note : inJapanese(note));
