// Packs the program: `npm run dist` makes what can be made on Linux without any download but npm's and Electron's, or the installer on Windows, --unpacked a folder alone,
// --appimage an AppImage as well (electron-builder fetches its tools). With ELECTRON_OVERRIDE_DIST_PATH that Electron is packed, not
// one that is fetched.
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildProcesses, buildRenderer } from './build.mjs';
import { debCanBeMade, makeDeb } from './deb.mjs';
import { makeWindowsIcon } from './icons.mjs';
import { root } from './launch.mjs';
import { LICENCES, licencesText, packagesBeside, packagesOfModels } from './licences.mjs';
import { makeBackbone } from './prepare.mjs';
import { gatherVisualCpp, VISUAL_CPP, windowsModules } from './visual-cpp.mjs';

/**
 * @param {{targets?: string[], testRuntime?: boolean, output?: string, electronDist?: string}} options `targets`: of electron-builder,
 * default those of electron-builder.yml. `testRuntime`: the build that main/shell/README.md describes, never published. `output`:
 * folder of what is made, default dist/installers.
 * @returns {Promise<string[]>} files made; none for a folder
 * @throws when the shipped backbone cannot be made, Windows lacks the C++ runtime, or electron-builder cannot fetch what a target needs
 */
export async function packProgram({ targets, testRuntime = false, output, electronDist } = {}) {
  const problem = makeBackbone();
  if (problem !== null) throw new Error(`the shipped backbone could not be made: ${problem}`);
  if (process.platform === 'win32') {
    await makeWindowsIcon();
    gatherVisualCpp({
      modules: windowsModules(process.arch),
      system: join(process.env.SystemRoot ?? 'C:\\Windows', 'System32'),
      into: VISUAL_CPP,
    });
  }
  const bundled = [...(await buildRenderer()), ...(await buildProcesses({ testRuntime }))];
  await useCompressorOfNpm();
  const { build, Platform } = await import('electron-builder');
  const config = {
    extends: join(root, 'electron-builder.yml'),
    afterPack: ({ appOutDir }) => {
      const packages = [...bundled, ...packagesBeside(appOutDir), ...packagesOfModels()];
      writeFileSync(join(appOutDir, LICENCES), licencesText(packages));
    },
    ...(output === undefined ? {} : { directories: { output } }),
    ...(electronDist === undefined ? {} : { electronDist, electronVersion: versionOf(electronDist) }),
    ...(testRuntime
      ? {
          files: ['dist/test-runtime/**'],
          extraMetadata: { main: 'dist/test-runtime/shell/main.cjs' },
        }
      : {}),
  };
  return build({
    targets: targets === undefined ? undefined : Platform.current().createTarget(targets),
    config,
    projectDir: root,
  });
}

/** Folder of the unpacked program in an output folder. */
export const unpackedIn = (output) =>
  join(
    output,
    { 'linux arm64': 'linux-arm64-unpacked', 'linux x64': 'linux-unpacked' }[`${process.platform} ${process.arch}`] ??
      'win-unpacked',
  );

/** electron-builder's compressor from the registry, where it would be downloaded from elsewhere. */
async function useCompressorOfNpm() {
  // Its own default takes five times as long and saves a sixtieth.
  process.env.ELECTRON_BUILDER_COMPRESSION_LEVEL ??= '5';
  if (process.env.ELECTRON_BUILDER_7ZIP_PATH) return;
  const { path7za } = (await import('7zip-bin')).default;
  if (!existsSync(path7za)) return;
  // The package has it without the right to run.
  if (process.platform !== 'win32') chmodSync(path7za, 0o755);
  process.env.ELECTRON_BUILDER_7ZIP_PATH = path7za;
}

/** Electron's folder names its version in a file. */
function versionOf(folder) {
  const file = join(folder, 'version');
  if (!existsSync(file)) throw new Error(`${folder} holds no Electron: there is no file "version" in it`);
  return readFileSync(file, 'utf8').trim().replace(/^v/, '');
}

if (process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url) {
  const flags = new Set(process.argv.slice(2));
  const linux = process.platform === 'linux';
  const output = join(root, 'dist', 'installers');
  const made = await packProgram({
    targets: flags.has('--unpacked')
      ? ['dir']
      : linux
        ? ['tar.gz', ...(flags.has('--appimage') ? ['AppImage'] : [])]
        : undefined,
    electronDist: process.env.ELECTRON_OVERRIDE_DIST_PATH || undefined,
  });
  if (linux && !flags.has('--unpacked')) {
    if (debCanBeMade()) made.push(await makeDeb({ unpacked: unpackedIn(output), into: output }));
    else console.log('Mekiki: no .deb, there is no dpkg-deb here.');
  }
  for (const file of made) console.log(`Mekiki: made ${file}`);
}
