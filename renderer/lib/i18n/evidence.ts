import type { Language } from '../../../main/contract/errors.ts';
import { translator, type Pair } from './translator.ts';

/*
 * What the core writes into evidence stays as it was written: in English, under the hash that a supervisor signs. The window shows it in its own language where it
 * knows the sentence. `{name}` stands for a figure, or for another of these sentences.
 */
export const sentences: readonly Pair[] = [
  ['{pp} pp less accurate', '精度は {pp} ポイント低下'],
  ['{pp} pp more accurate', '精度は {pp} ポイント向上'],
  ['equally accurate', '精度は同等'],
  ['{times} times as fast, {drop} in cross-validation', '{times} 倍の速さ、交差検証の{drop}'],
  ['{times} times as fast, {drop} in cross-validation.', '{times} 倍の速さ、交差検証の{drop}。'],
  [
    '{change}; so few images leave that open: its scores counted in, it is {drop}.',
    '{change}。ただし画像が少なく確かでない。スコアも合わせると{drop}。',
  ],
  ['Too inaccurate: {change}; allowed are {most} pp.', '精度不足: {change}。許容は {most} ポイントまで。'],
  [
    'Too uncertain: {change}, but so few images do not show that; its scores counted in, it is {drop} (allowed: {most} pp).',
    '確かでない: {change}。ただし画像が少なく示しきれず、スコアも合わせると{drop}（許容 {most} ポイント）。',
  ],
  [
    'Blind to new defects: {change}, but with one class held out as if it were new, {loss} % fewer of its parts stand out from known ones (area under the curve; allowed: {most} %).',
    '新しい欠陥に気付きにくい: {change}。ただし 1 クラスを未知とみなすと、既知から見分けられる部品が {loss} % 減る（曲線下面積、許容 {most} %）。',
  ],
  ['Not faster on this PC ({times} times).', 'この PC では速くならない（{times} 倍）。'],
  [
    'Not shown to be faster on this PC ({low} to {high} times).',
    'この PC で速いとは言い切れない（{low}～{high} 倍）。',
  ],
  ['Larger than the original ({bytes} against {original} bytes).', '元より大きい（{bytes} 対 {original} バイト）。'],
  ['Too slow: {ms} ms; allowed are {most} ms.', '遅すぎる: {ms} ms。許容は {most} ms まで。'],
  ['Not compressed: nothing faster kept the accuracy.', '圧縮なし: 精度を保って速くなるものがなかった。'],
  [
    'Not compressed: for comparison, or where the smaller one is not wanted.',
    '圧縮なし: 比較のため、または小さいモデルを使わない場合のため。',
  ],
  ['From good parts alone: until a defect is labelled.', '良品だけから: 欠陥にラベルが付くまで。'],
  ['imported from {station}', '{station} から取り込み'],
  [
    '5-fold cross-validation over {n} labelled parts; verdicts without the novelty check',
    'ラベル済み部品 {n} 個の 5 分割交差検証。判定に新規度の確認は含まない',
  ],
  [
    '{basis}; the network was not fitted to {n} of them: the drop is the worse of all and of those',
    '{basis}。ネットワークの調整に使っていない部品は {n} 個。低下は、全体とその部品だけとで悪い方の値',
  ],
  [
    '{basis}; against the active model: both as they inspect, both may have learnt from these parts',
    '{basis}。有効モデルとは検査時のままで比較。両方ともこれらの部品を学習済みの場合がある',
  ],
  ['{basis}; not measured here, no pictures: {classes}', '{basis}。ここでは画像がなく未測定: {classes}'],
  [
    '{basis}; sums that came by file may hold pictures of this station as well',
    '{basis}。ファイルで受け取った合計には、このステーションの画像が含まれている可能性がある',
  ],
  [
    '{basis}; the map is poor: how such parts are judged is uncertain',
    '{basis}。対応付けが不十分なため、これらの部品の判定は不確か',
  ],
  [
    '{basis}; from sums of other stations, without their pictures, added exactly: {classes}',
    '{basis}。他ステーションの合計（画像なし）をそのまま加算: {classes}',
  ],
  [
    '{basis}; from sums of other stations, without their pictures, mapped to this model by least squares ({fit}): {classes}',
    '{basis}。他ステーションの合計（画像なし）を最小二乗法でこのモデルに対応付け（{fit}）: {classes}',
  ],
  ['R² {r2} on classes held out, {n} pictures', '除いたクラスで R² {r2}、画像 {n} 枚'],
  ['R² {r2} on folds held out, {n} pictures', '除いた分割で R² {r2}、画像 {n} 枚'],
  [
    'Not compressed: pictures of a single class, or of one part of each other class, do not show what compressing costs.',
    '圧縮なし: 1 クラスの画像だけ、または他の各クラスが 1 個の部品の画像だけでは、圧縮による低下が分からない。',
  ],
  [
    '{n} good parts, each held out once over the folds; no defect is labelled yet, so what escapes is not known. Parts unlike the good ones are unsure, none is NG',
    '良品 {n} 個を分割ごとに 1 回ずつ除いて検証。欠陥のラベルがまだなく、見逃しは不明。良品に似ない部品は保留とし、NG にはしない',
  ],
  ['all equal, logits within {most}', 'すべて一致、ロジットの差 {most} 以内'],
];

const inJapanese = translator(sentences, (piece) => inJapanese(piece));

/** A sentence of the core in a language; one that is not known stays as it is. */
export const evidenceIn = (language: Language, text: string): string => (language === 'en' ? text : inJapanese(text));
