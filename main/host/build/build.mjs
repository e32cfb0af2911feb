// Builds dist/: the bundles of shell, preload and processes, and the window. Flags: --test-runtime (into dist/test-runtime,
// see main/shell/README.md), --only-processes, --only-renderer.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { root } from './launch.mjs';
import { packagesOf } from './licences.mjs';

/** Packages that bring native code, or that the runtime itself provides: they stay in node_modules. */
const external = [
  'electron',
  'better-sqlite3',
  'onnxruntime-node',
  'sharp',
  // Its WebAssembly files are found beside the installed package.
  '@tensorflow/*',
];
const processes = ['core', 'line', 'trainer'];

/**
 * In a bundle, import.meta.url goes on meaning the source file's own place: what a module finds by its address (package.json,
 * native-models/) is found from the bundle as well.
 */
const ownSources = (threads) => ({
  name: 'own-sources',
  setup(build) {
    // Threads are bundles of their own; main/capture/thread-url.ts is where their address is made.
    build.onLoad({ filter: /thread-url\.ts$/ }, () => ({
      contents: `export const threadUrl = (path) => new URL('../threads/' + path.split('/').pop() + '.mjs', __bundleUrl);`,
      loader: 'ts',
    }));
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      if (path.includes('node_modules')) return null;
      const source = await readFile(path, 'utf8');
      // esbuild keeps the whole of a namespace that a package hands on as `{ z }`: zod's 64 languages and JSON Schema, in each bundle.
      const text = source.replace(/^import \{ z \} from 'zod';$/m, "import * as z from 'zod';");
      if (text === source && !text.includes('import.meta.url')) return null;
      for (const [, thread] of text.matchAll(/threadUrl\('([^']+)'/g)) threads.add(`${join(dirname(path), thread)}.ts`);
      const place = JSON.stringify(relative(root, path).split(sep).join('/'));
      return { contents: text.replaceAll('import.meta.url', `__sourceUrl(${place})`), loader: 'ts' };
    });
  },
});
/** What the above and packages in CommonJS (ws) need, in either module format. */
const banners = {
  esm: (up) =>
    `import { createRequire as __createRequire } from 'node:module'; const __bundleUrl = import.meta.url; ` +
    `const require = __createRequire(__bundleUrl); const __sourceUrl = (place) => new URL('${up}/' + place, __bundleUrl).href;`,
  // Evaluated when called: a sandboxed preload has no such modules, and never calls.
  cjs: (up) =>
    `const __sourceUrl = (place) => new URL('${up}/' + place, require('node:url').pathToFileURL(__filename)).href;`,
};

/**
 * Public halves of the release keys of this build, from the file that MEKIKI_RELEASE_KEYS names: 64 hexadecimal digits a line, `#` begins
 * a note. Without it a build believes no update.
 */
function releaseKeys() {
  const file = process.env.MEKIKI_RELEASE_KEYS;
  if (!file) return [];
  const keys = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
  const wrong = keys.find((key) => !/^[0-9a-f]{64}$/.test(key));
  if (wrong !== undefined || keys.length === 0)
    throw new Error(`${file} holds no release key: ${wrong ?? 'it is empty'}`);
  return keys;
}

/**
 * @param {{testRuntime?: boolean, bundle?: string, renderer?: string, entries?: string}} options `bundle` and `renderer` are
 * folders from the root, `entries` the folder of the process entries: tests of the shell put their own.
 * @returns {Promise<string[]>} folders of the packages that are in the bundles
 */
export async function buildProcesses({
  testRuntime = false,
  bundle = testRuntime ? 'dist/test-runtime' : 'dist',
  renderer = 'dist/renderer',
  entries: entryFolder = 'main/host/processes',
} = {}) {
  const { build } = await import('esbuild');
  const threads = new Set();
  const common = {
    bundle: true,
    platform: 'node',
    // Electron 33, the oldest that tests run in, has Node 20.
    target: 'node20',
    external,
    sourcemap: 'linked',
    legalComments: 'none',
    // Drops branches on build constants: a shipped bundle does not even name MEKIKI_NODE.
    minifySyntax: true,
    logLevel: 'warning',
    metafile: true,
    plugins: [ownSources(threads)],
    define: {
      'import.meta.main': 'false',
      __TEST_RUNTIME__: String(testRuntime),
      __BUNDLE__: JSON.stringify(bundle),
      __RENDERER__: JSON.stringify(renderer),
      __RELEASE_KEYS__: JSON.stringify(releaseKeys()),
    },
  };
  /** @param {'esm' | 'cjs'} format Electron starts a program in CommonJS before it is ready; the rest may await. */
  const into = (folder, format, entries) => {
    const outdir = join(root, bundle, folder);
    rmSync(outdir, { recursive: true, force: true });
    return build({
      ...common,
      format,
      entryPoints: entries.map((entry) => resolve(root, entry)),
      entryNames: '[name]',
      outdir,
      outExtension: { '.js': format === 'esm' ? '.mjs' : '.cjs' },
      banner: { js: banners[format](relative(outdir, root).split(sep).join('/')) },
    });
  };
  const first = await Promise.all([
    into(
      'processes',
      'esm',
      processes.map((name) => `${entryFolder}/${name}.ts`),
    ),
    into('shell', 'cjs', ['main/shell/main.ts', 'main/shell/preload.ts', 'main/shell/camera-preload.ts']),
  ]);
  const built = [...first, await into('threads', 'esm', [...threads])];
  const { name, productName, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  // `electron dist/test-runtime` starts the test build; `electron .` the real one.
  if (bundle !== 'dist')
    writeFileSync(
      join(root, bundle, 'package.json'),
      `${JSON.stringify({ name, productName, version, main: 'shell/main.cjs' }, null, 2)}\n`,
    );
  const outputs = built.flatMap(({ metafile }) => Object.values(metafile.outputs));
  const inputs = outputs.flatMap(({ inputs: files }) => Object.entries(files));
  return packagesOf(inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([file]) => resolve(file)));
}

/** @returns {Promise<string[]>} folders of the packages whose code, styles or fonts are in the window */
export async function buildRenderer() {
  const config = join(root, 'renderer', 'vite.config.ts');
  let files = [];
  const { build } = await import('vite');
  await build({
    configFile: config,
    logLevel: 'warn',
    plugins: [
      {
        name: 'what-is-inside',
        generateBundle(_options, bundle) {
          files = Object.values(bundle).flatMap((part) =>
            part.type === 'chunk'
              ? part.moduleIds
              : part.originalFileNames.map((name) => resolve(root, 'renderer', name)),
          );
        },
      },
    ],
    build: { rolldownOptions: { checks: { pluginTimings: false } } },
  });
  return packagesOf(files);
}

const asked = process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url;
if (asked) {
  const flags = new Set(process.argv.slice(2));
  mkdirSync(join(root, 'dist'), { recursive: true });
  if (!flags.has('--only-renderer')) await buildProcesses({ testRuntime: flags.has('--test-runtime') });
  if (!flags.has('--only-processes')) await buildRenderer();
  if (
    !existsSync(fileURLToPath(new URL('../../../dist/renderer/index.html', import.meta.url))) &&
    !flags.has('--only-processes')
  )
    throw new Error('the renderer was built, but dist/renderer/index.html is missing');
}
