// Packs the program: `npm run dist` makes the installers of electron-builder.yml for this platform; with --unpacked a folder alone.
// With ELECTRON_OVERRIDE_DIST_PATH that Electron is packed, not one that is fetched.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildProcesses, buildRenderer } from './build.mjs';
import { root } from './launch.mjs';
import { makeBackbone } from './prepare.mjs';

/**
 * @param {{unpacked?: boolean, testRuntime?: boolean, output?: string, electronDist?: string}} options `testRuntime`: the build
 * that main/shell/README.md describes, never published. `output`: folder of what is made, default dist/installers.
 * @returns {Promise<string[]>} files made; none for a folder
 * @throws when the shipped backbone cannot be made, or electron-builder cannot fetch what a target needs
 */
export async function packProgram({ unpacked = false, testRuntime = false, output, electronDist } = {}) {
  const problem = makeBackbone();
  if (problem !== null) throw new Error(`the shipped backbone could not be made: ${problem}`);
  await buildRenderer();
  await buildProcesses({ testRuntime });
  const { build, Platform } = await import('electron-builder');
  const config = {
    extends: join(root, 'electron-builder.yml'),
    ...(output === undefined ? {} : { directories: { output } }),
    ...(electronDist === undefined ? {} : { electronDist, electronVersion: versionOf(electronDist) }),
    ...(testRuntime
      ? {
          files: ['dist/test-runtime/**'],
          extraMetadata: { main: 'dist/test-runtime/shell/main.cjs' },
        }
      : {}),
  };
  return build({ targets: unpacked ? Platform.current().createTarget('dir') : undefined, config, projectDir: root });
}

/** Electron's folder names its version in a file. */
function versionOf(folder) {
  const file = join(folder, 'version');
  if (!existsSync(file)) throw new Error(`${folder} holds no Electron: there is no file "version" in it`);
  return readFileSync(file, 'utf8').trim().replace(/^v/, '');
}

if (process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url) {
  const made = await packProgram({
    unpacked: process.argv.includes('--unpacked'),
    electronDist: process.env.ELECTRON_OVERRIDE_DIST_PATH || undefined,
  });
  for (const file of made) console.log(`Mekiki: made ${file}`);
}
