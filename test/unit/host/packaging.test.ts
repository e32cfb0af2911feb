import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { updateManifestSchema } from '../../../main/contract/update.ts';
import { debCanBeMade, makeDeb } from '../../../main/host/build/deb.mjs';
import { DRAWING, makeWindowsIcon, WINDOWS_ICON } from '../../../main/host/build/icons.mjs';
import { LICENCES } from '../../../main/host/build/licences.mjs';
import { gatherVisualCpp, VISUAL_CPP, windowsModules } from '../../../main/host/build/visual-cpp.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** electron-builder's own check of a configuration, against the schema that comes with it. */
let validate: (config: unknown) => void;
/** Whether electron-builder takes a file of the project, named from its root, for a platform that is packed for here. */
let takes: (file: string, platform: 'linux' | 'win') => boolean;
/** What electron-builder makes of an icon that its configuration names. */
let convertIcon: (of: Record<string, unknown>) => Promise<unknown>;
let config: Record<string, unknown> & { fileAssociations: { ext: string; mimeType: string }[] };

beforeAll(() => {
  // Not named in its package.json's exports: found beside electron-builder, which brings it.
  const lib = dirname(
    createRequire(createRequire(root).resolve('electron-builder')).resolve('app-builder-lib/package.json'),
  );
  const { validateSchema } = createRequire(root)(join(lib, 'out/util/config/schemaValidator.js')) as {
    validateSchema: (schema: unknown, data: unknown) => void;
  };
  const schema: unknown = JSON.parse(readFileSync(join(lib, 'scheme.json'), 'utf8'));
  validate = (data) => validateSchema(schema, data);
  config = parse(read('electron-builder.yml')) as typeof config;

  const inLib = <T>(file: string) => createRequire(root)(join(lib, 'out', file)) as T;
  ({ convertIcon } = inLib<{ convertIcon: typeof convertIcon }>('util/iconConverter.js'));
  const { doMergeConfigs } = inLib<{ doMergeConfigs: (all: unknown[]) => typeof config }>('util/config/config.js');
  const { getMainFileMatchers } = inLib<{
    getMainFileMatchers: (...about: unknown[]) => { createFilter(): (path: string, stat: object) => boolean }[];
  }>('fileMatcher.js');
  const project = root.slice(0, -1);
  const expand = (pattern: string) => pattern.replaceAll('${platform}', 'linux').replaceAll('${arch}', 'x64');
  takes = (file, platform) => {
    const merged = doMergeConfigs([structuredClone(config)]);
    const info = { config: merged, projectDir: project, buildResourcesDir: 'build', debugLogger: { isEnabled: false } };
    const output = join(project, 'dist/installers');
    const matchers = getMainFileMatchers(project, output, expand, merged[platform], { info }, output, false);
    return matchers.some((each) => each.createFilter()(join(project, file), { isDirectory: () => false }));
  };
});

test('each package is fixed by its version and a hash, and none runs anything when it is installed', () => {
  interface Locked {
    integrity?: string;
    hasInstallScript?: boolean;
  }
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
  const { dependencies, devDependencies, allowScripts } = JSON.parse(read('package.json')) as Record<
    'dependencies' | 'devDependencies' | 'allowScripts',
    Record<string, string | boolean>
  >;
  const locked = Object.entries(packages).filter(([path]) => path !== '');
  expect(locked.length).toBeGreaterThan(100);
  expect(locked.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path)).toEqual([]);
  for (const version of Object.values({ ...dependencies, ...devDependencies }))
    expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  const scripts = locked
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => path.split('node_modules/').at(-1)!);
  for (const name of scripts) expect(allowScripts[name], name).toBe(false);
});

test('of packages only those are taken that bring native code: all others are in the bundles', () => {
  const { files, asarUnpack } = config as unknown as { files: string[]; asarUnpack: string[] };
  const names = (lines: readonly string[], form: RegExp) =>
    lines.flatMap((line) => form.exec(line)?.slice(1) ?? []).flatMap((list) => list.split(/[|,]/));
  const kept = names(files, /^!node_modules\/!\((.*)\)\/\*\*$/);
  const unpacked = names(asarUnpack, /^node_modules\/\{?([^{}*]*)\}?\/\*\*$/);
  expect(kept.length).toBeGreaterThan(3);
  expect(kept.toSorted()).toEqual(unpacked.toSorted());
});

describe.each(['linux', 'win'] as const)('of the project, for %s', (platform) => {
  test.each([
    'dist/processes/core.mjs',
    'dist/threads/capture-thread.mjs',
    'dist/shell/main.cjs',
    'dist/renderer/index.html',
    'native-models/manifest.json',
    'native-models/a.onnx',
    'package.json',
  ])('%s is packed', (file) => expect(takes(file, platform)).toBe(true));

  test.each([
    'dist/dev-home/secrets/root.key',
    'dist/processes/core.mjs.map',
    'dist/shell-test/main.cjs',
    'native-models/make.ts',
    'main/core/accounts.ts',
    'test/e2e/demo.ts',
    'KEY.pem',
    '.npmrc',
  ])('%s is not', (file) => expect(takes(file, platform)).toBe(false));
});

describe('electron-builder.yml', () => {
  test('is what electron-builder takes, targets that were not tried here included', () => {
    expect(() => validate(structuredClone(config))).not.toThrow();
    expect(config).toMatchObject({
      linux: { target: ['tar.gz', 'AppImage'] },
      win: { target: ['nsis'] },
      nsis: { perMachine: true },
    });
  });

  test.each([
    ['a key that there is none of', { nsis: { perMaschine: true } }],
    ['a fuse of another kind', { electronFuses: { runAsNode: 'no' } }],
    ['an association without its ending', { fileAssociations: [{ name: 'x' }] }],
  ])('%s would be refused', (_what, wrong) => {
    expect(() => validate({ ...structuredClone(config), ...wrong })).toThrow();
  });

  test('what ONNX Runtime needs of the C++ runtime on Windows is packed beside it, and Windows not packed without', () => {
    const at = mkdtempSync(join(tmpdir(), 'mekiki-visual-cpp-'));
    try {
      const [modules, system, into] = [windowsModules('arm64'), join(at, 'System32'), join(at, 'into')];
      const gather = () => gatherVisualCpp({ modules, system, into });
      mkdirSync(system);
      expect(gather).toThrow('Visual C++ 2015-2022 Redistributable');
      // As `objdump -p` has it.
      const packed = ['msvcp140.dll', 'msvcp140_1.dll', 'msvcp140_atomic_wait.dll', 'vcruntime140.dll'];
      // Stand-ins: modules that need nothing of it, and one that needs more.
      for (const name of [...packed, 'vcruntime140_1.dll'])
        copyFileSync(
          join(windowsModules('x64'), name === 'msvcp140.dll' ? 'onnxruntime_binding.node' : 'dxil.dll'),
          join(system, name),
        );
      expect(gather()).toEqual([...packed, 'vcruntime140_1.dll']);
      expect(readdirSync(into).toSorted()).toEqual([...packed, 'vcruntime140_1.dll']);
    } finally {
      rmSync(at, { recursive: true });
    }
    expect(config).toMatchObject({
      win: {
        extraResources: [
          {
            from: relative(root, VISUAL_CPP),
            to: join('app.asar.unpacked', relative(root, windowsModules('${arch}'))),
          },
        ],
      },
    });
  });

  test('the AppImage gets the drawing for its icon', async () => {
    const sources = [String((config['linux'] as { icon?: string }).icon)];
    const found = { sources, fallbackSources: [], roots: [root], format: 'set', outDir: join(root, 'dist', 'none') };
    expect(await convertIcon(found)).toMatchObject({ icons: [{ file: DRAWING }], isFallback: false });
  });

  test('the Windows program gets an icon that electron-builder takes as it is, without the tool that it would fetch', async () => {
    const at = mkdtempSync(join(tmpdir(), 'mekiki-icon-'));
    try {
      const file = join(at, 'new', 'icon.ico');
      await makeWindowsIcon(file);
      const found = { sources: [file], fallbackSources: [], roots: [at], format: 'ico', outDir: join(at, 'made') };
      expect(await convertIcon(found)).toEqual({ icons: [{ file, size: 256 }], isFallback: false });
      // Each picture lies where the head says, and is as large.
      const icon = readFileSync(file);
      const sizes = Array.from({ length: icon.readUInt16LE(4) }, (_, i) => {
        const [bytes, place] = [icon.readUInt32LE(14 + 16 * i), icon.readUInt32LE(18 + 16 * i)];
        const png = icon.subarray(place, place + bytes);
        expect(png.subarray(0, 8)).toEqual(Buffer.from('89504e470d0a1a0a', 'hex'));
        expect(png.readUInt32BE(16) % 256).toBe(icon[6 + 16 * i]);
        return png.readUInt32BE(16);
      });
      expect(sizes).toEqual([16, 24, 32, 48, 64, 128, 256]);
    } finally {
      rmSync(at, { recursive: true });
    }
    expect(config).toMatchObject({ win: { icon: relative(root, WINDOWS_ICON) } });
  });

  test.skipIf(!debCanBeMade())('a Debian package that cannot be made leaves nothing behind', async () => {
    const at = mkdtempSync(join(tmpdir(), 'mekiki-no-deb-'));
    const usual = process.env['TMPDIR'];
    try {
      const [unpacked, temporary] = [join(at, 'unpacked'), join(at, 'temporary')];
      for (const folder of [unpacked, temporary]) mkdirSync(folder);
      for (const name of ['chrome-sandbox', LICENCES]) writeFileSync(join(unpacked, name), '');
      process.env['TMPDIR'] = temporary;
      await expect(makeDeb({ unpacked, into: join(at, 'nowhere') })).rejects.toThrow('dpkg-deb');
      expect(readdirSync(temporary)).toEqual([]);
    } finally {
      if (usual === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = usual;
      rmSync(at, { recursive: true });
    }
  });

  test('the installer for Windows has a name that an update may have, and that tells what it is for', () => {
    const { nsis } = config as unknown as { nsis: { artifactName: string } };
    const values: Record<string, string> = { productName: 'Mekiki', version: '1.2.0', arch: 'x64', ext: 'exe' };
    const name = nsis.artifactName.replace(/\$\{(\w+)\}/g, (_, key: string) => values[key]!);
    expect(name).toBe('Mekiki-Setup-1.2.0-x64.exe');
    expect(updateManifestSchema.shape.fileName.safeParse(name).success).toBe(true);
  });

  test('what the Debian package declares is what electron-builder declares elsewhere', () => {
    const [bundle] = config.fileAssociations;
    const mime = read('main/host/build/linux/mekiki.xml');
    expect(read('main/host/build/linux/mekiki.desktop')).toContain(`MimeType=${bundle!.mimeType};`);
    expect(mime).toContain(`type="${bundle!.mimeType}"`);
    expect(mime).toContain(`pattern="*.${bundle!.ext}"`);
  });
});
