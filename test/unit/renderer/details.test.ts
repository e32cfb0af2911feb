import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { errorText, type ErrorCode, type ErrorDetails } from '../../../main/contract/errors.ts';
import { causes, detailsIn, states, things } from '../../../renderer/lib/i18n/details.ts';

const main = fileURLToPath(new URL('../../../main/', import.meta.url));
const sources = readdirSync(main, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(join(main, file), 'utf8'));
const core = ['core', 'store']
  .flatMap((folder) => readdirSync(join(main, folder), { encoding: 'utf8' }).map((file) => join(main, folder, file)))
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n');

const japanese = (code: ErrorCode, details: ErrorDetails) => errorText(code, detailsIn('ja', details), 'ja').message;

describe('what a message is filled with', () => {
  it('is said in Japanese, whatever the core refuses by state, kind or disk', () => {
    const thrown = core.matchAll(
      /AppError\(\s*'(CONFLICT|NOT_FOUND|ALREADY_EXISTS|NO_LONGER_KEPT|DEMO_FORBIDS)',\s*\{(.*?)\n?\s*\}\)/gsu,
    );
    const written = [...thrown].flatMap(([, , details]) => [
      ...details!.matchAll(/\b(kind|what|state|needed): (?:'([^']*)'|`([^`]*)`)/gu),
    ]);
    const ahead = [...core.matchAll(/const (needed|state) = (?!\w+[.(])[^;]*;/gu)].flatMap(([statement, name]) =>
      [...statement.matchAll(/'([^']* [^']*)'/gu)].map(([, text]) => [statement, name, text] as const),
    );
    const low = [...core.matchAll(/lowError\('([^']*)'\)/gu)].map(([call, text]) => [call, 'what', text] as const);
    expect(written.length + ahead.length + low.length).toBeGreaterThan(80);
    const english = [...written, ...ahead, ...low].flatMap(([, name, plain, filled]) => {
      const text = plain ?? filled!.replaceAll(/\$\{(?:[^{}]|\{[^{}]*\})*\}/gu, '7');
      const said = String(detailsIn('ja', { [name!]: text })[name!]);
      return /[a-z]{3,}/u.test(said) ? [`${name}: ${text}`] : [];
    });
    // Known whole, with either of the two pieces that fill it.
    expect(english).toEqual(['state: already in 7']);
    expect(states.map(([text]) => text)).toContain('already in this station');
  });

  it('knows nothing that nobody says', () => {
    const all = sources.join('\n');
    const gone = [...things, ...states, ...causes].filter(([english]) =>
      english.split(/\{\w+\}/u).some((piece) => piece.length > 2 && !all.includes(piece.trim())),
    );
    expect(gone.map(([english]) => english)).toEqual([
      // Made of two pieces each.
      'a gige camera',
      'a usb camera',
      'already in this station',
      'already in what was added before',
    ]);
  });

  it('makes whole sentences, and leaves names that people gave', () => {
    expect(japanese('CONFLICT', { what: 'the line', state: 'stopped', needed: 'a running line' })).toBe(
      '今の状態では実行できません。ライン: 停止中（必要: 運転中のライン）。',
    );
    expect(japanese('CONFLICT', { what: 'study part', state: 'closed', needed: 'an open study' })).toContain(
      '受入試験「part」: 終了',
    );
    expect(japanese('CONFLICT', { what: '佐藤', state: 'engineer', needed: 'an operator' })).toContain(
      '佐藤: エンジニア',
    );
    expect(japanese('NOT_ALLOWED', { method: 'stations.save', roles: 'engineer / supervisor' })).toContain(
      'エンジニア、監督者',
    );
    expect(japanese('GATE_FAILED', { model: 'm-1', gates: 'golden-escape, recall' })).toBe(
      'm-1 は不合格です: 見逃し（ゴールデンセット）、クラス別再現率。',
    );
    expect(japanese('OTHER_ON_THIS_PC', { model: 'm-1', gates: 'latency 12.5 ms (10 ms)' })).toContain(
      '処理時間 p99 12.5 ms（限度 10 ms）',
    );
    expect(japanese('JOB_INTERRUPTED', { kind: 'compress' })).toContain('「圧縮」');
    const low = { path: '/data', free: 120, what: 'nothing is learnt until there is more' };
    expect(japanese('DISK_LOW', low)).toBe('/data のディスクの空きは 120 MB だけです。増えるまで学習しません。');
    expect(japanese('BAD_CLASS_NAME', { name: 'a/b', problem: 'it looks like a path' })).toBe(
      '「a/b」はクラス名にできません: パスのような名前です。',
    );
    expect(japanese('NOT_APPROVED', { model: 'm-1', problem: 'its state is "submitted"' })).toContain('「提出済み」');
    // A class, a file and what a system says keep the words of whoever named or said them.
    const named = { name: 'part', file: 'core', problem: 'EACCES: permission denied, open the line' };
    expect(detailsIn('ja', named)).toEqual(named);
    expect(detailsIn('en', low)).toBe(low);
  });
});
