import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildProcesses } from '../../../main/host/build/build.mjs';
import { licencesText, packagesOf, packagesOfModels } from '../../../main/host/build/licences.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));

describe('licences of what is packed', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-licences-'));
    const put = (path: string, about: object, licence?: string) => {
      mkdirSync(join(folder, path), { recursive: true });
      writeFileSync(join(folder, path, 'package.json'), JSON.stringify(about));
      if (licence !== undefined) writeFileSync(join(folder, path, 'LICENSE.md'), licence);
    };
    put('node_modules/a', { name: 'a', version: '1.0.0', license: 'MIT' }, 'Copyright (c) the people of a');
    put('node_modules/a/node_modules/@b/c', { name: '@b/c', version: '2.0.0', license: 'ISC', author: { name: 'C' } });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('a file belongs to the innermost package, one of the project to none', () => {
    const [outer, inner] = [join(folder, 'node_modules/a'), join(folder, 'node_modules/a/node_modules/@b/c')];
    const files = [
      join(inner, 'lib/x.js'),
      `\0${join(outer, 'y.js')}?commonjs`,
      join(outer, 'z.css'),
      join(folder, 'q.ts'),
    ];
    expect(packagesOf(files)).toEqual([outer, inner]);
    const text = licencesText([outer, outer, inner]);
    expect(text).toMatch(/^\s*Apache License/);
    expect(text.match(/a 1\.0\.0: MIT\n\nCopyright \(c\) the people of a/g)).toHaveLength(1);
    expect(text).toContain('@b/c 2.0.0: ISC, by C');
  });

  test('a build names the packages in its bundles, and models those that they come from', async () => {
    const bundle = `node_modules/.cache/mekiki-shell/licences-${process.pid}`;
    try {
      const names = (await buildProcesses({ bundle })).map((each) => basename(each));
      expect(names).toEqual(expect.arrayContaining(['zod', 'ws', 'mqtt', 'tar-stream', 'yaml', 'saxes', 'fflate']));
      expect(names).not.toContain('commander');
    } finally {
      rmSync(join(root, bundle), { recursive: true, force: true });
    }
    expect(packagesOfModels()).toEqual([join(root, 'node_modules/@mediapipe/objectron')]);
  });
});
