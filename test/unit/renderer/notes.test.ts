import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { noteIn, notes } from '../../../renderer/lib/i18n/notes.ts';

const main = fileURLToPath(new URL('../../../main/', import.meta.url));
const sources = ['capture', 'vision', 'host/line']
  .flatMap((folder) =>
    readdirSync(join(main, folder), { recursive: true, encoding: 'utf8' }).map((f) => join(folder, f)),
  )
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(join(main, file), 'utf8'))
  .join('\n');

describe('notes of a part', () => {
  it('are those that camera, decoder and line write, each in Japanese', () => {
    const gone = notes.flatMap(([english]) =>
      english.split(/\{\w+\}/u).filter((piece) => piece.length > 2 && !sources.includes(piece)),
    );
    expect(gone).toEqual([]);
    const written = [...sources.matchAll(/\bnotes\.push\((?:'([^']*)'|`([^`]*)`)\)/gu)];
    expect(written.length).toBeGreaterThan(6);
    for (const [, plain, filled] of written) {
      const note = plain ?? filled!.replaceAll(/\$\{[^}]*\}/gu, 'float');
      expect(noteIn('ja', note), note).toMatch(/[\u3040-\u30ff\u4e00-\u9fff]/u);
    }
  });

  it('keep what people and cameras named', () => {
    expect(noteIn('ja', 'lot ok')).toBe('ロット ok');
    expect(noteIn('ja', 'Mono12p shown in 8 bits per channel')).toBe('Mono12p を 8 ビットで表示');
    expect(noteIn('ja', 'frame 2 of 3 decides: ok, unsure, ng')).toBe('3 枚中 2 枚目の判定を採用: OK、保留、NG');
    expect(noteIn('ja', 'readme.txt')).toBe('readme.txt');
    expect(noteIn('en', 'lot 7')).toBe('lot 7');
  });
});
