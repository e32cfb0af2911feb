// A Debian package of an unpacked program, made by Debian's own dpkg-deb: electron-builder would fetch another tool for it.
// Everything is declared (files, modes, links): no script runs as root at installation. What other packages keep up to date when
// files appear (menus, MIME types, icons), they do by their own triggers.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DRAWING, iconAsPng } from './icons.mjs';
import { root } from './launch.mjs';
import { LICENCES } from './licences.mjs';

const here = fileURLToPath(new URL('./linux/', import.meta.url));
const ICON_SIZES = [48, 64, 128, 256, 512];
/** What Electron's own libraries need of the system (`test/e2e/electron.test.ts` compares). The second name is that of releases with 64-bit time. */
export const DEPENDS = [
  'libasound2 | libasound2t64',
  'libatk-bridge2.0-0 | libatk-bridge2.0-0t64',
  'libatk1.0-0 | libatk1.0-0t64',
  'libatspi2.0-0 | libatspi2.0-0t64',
  'libc6 (>= 2.28)',
  'libcairo2',
  'libcups2 | libcups2t64',
  'libdbus-1-3',
  'libdrm2',
  'libexpat1',
  'libgbm1',
  'libgcc-s1',
  'libglib2.0-0 | libglib2.0-0t64',
  'libgtk-3-0 | libgtk-3-0t64',
  'libnspr4',
  'libnss3',
  'libpango-1.0-0',
  'libstdc++6',
  'libudev1',
  'libx11-6',
  'libxcb1',
  'libxcomposite1',
  'libxdamage1',
  'libxext6',
  'libxfixes3',
  'libxkbcommon0',
  'libxrandr2',
];

/** Whether this machine has dpkg-deb. */
export function debCanBeMade() {
  try {
    execFileSync('dpkg-deb', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {{unpacked: string, into: string, compression?: string[]}} options `unpacked`: folder that electron-builder made;
 * `compression`: of dpkg-deb.
 * @returns {Promise<string>} the package
 */
export async function makeDeb({ unpacked, into, compression = ['-Zxz', '-z3'] }) {
  const { name, version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch];
  const file = join(into, `${name}_${version}_${architecture}.deb`);
  // Not in the project: electron-builder looks at all that lies there.
  const tree = mkdtempSync(join(tmpdir(), 'mekiki-deb-'));
  try {
    await layOut(tree, { name, version, description, architecture, unpacked });
    execFileSync('dpkg-deb', ['--root-owner-group', ...compression, '--build', tree, file], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
  return file;
}

/** All that the package holds, as it lies on the PC that it is installed on. */
async function layOut(tree, { name, version, description, architecture, unpacked }) {
  const put = (from, to) => {
    mkdirSync(dirname(join(tree, to)), { recursive: true });
    copyFileSync(from, join(tree, to));
  };
  const program = join(tree, 'opt', name);
  mkdirSync(dirname(program), { recursive: true });
  cpSync(unpacked, program, { recursive: true, verbatimSymlinks: true });
  put(join(here, 'mekiki.desktop'), 'usr/share/applications/mekiki.desktop');
  put(join(here, 'mekiki-kiosk.desktop'), 'usr/share/mekiki/mekiki-kiosk.desktop');
  put(join(here, 'mekiki.xml'), 'usr/share/mime/packages/mekiki.xml');
  put(join(unpacked, LICENCES), 'usr/share/doc/mekiki/copyright');
  put(DRAWING, 'usr/share/icons/hicolor/scalable/apps/mekiki.svg');
  for (const size of ICON_SIZES) {
    const icon = join(tree, `usr/share/icons/hicolor/${size}x${size}/apps/mekiki.png`);
    mkdirSync(dirname(icon), { recursive: true });
    writeFileSync(icon, await iconAsPng(size));
  }
  mkdirSync(join(tree, 'usr', 'bin'));
  symlinkSync(`/opt/${name}/mekiki`, join(tree, 'usr', 'bin', 'mekiki'));

  chmodSync(tree, 0o755);
  const bytes = settleModes(tree);
  // Setuid root, as Chromium's own package has it: the window's sandbox also works where user namespaces are forbidden.
  chmodSync(join(program, 'chrome-sandbox'), 0o4755);
  mkdirSync(join(tree, 'DEBIAN'));
  writeFileSync(
    join(tree, 'DEBIAN', 'control'),
    [
      `Package: ${name}`,
      `Version: ${version}`,
      `Architecture: ${architecture}`,
      'Maintainer: Mekiki <noreply@mekiki.invalid>',
      `Installed-Size: ${Math.ceil(bytes / 1024)}`,
      `Depends: ${DEPENDS.join(', ')}`,
      'Section: science',
      'Priority: optional',
      `Description: ${description.split('. ')[0].replace(/\.$/, '')}`,
      ` ${description}`,
      '',
    ].join('\n'),
  );
}

/** Modes that do not depend on who packs: folders and what may run 755, other files 644. @returns {number} bytes of all files */
function settleModes(folder) {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      chmodSync(path, 0o755);
      bytes += settleModes(path);
    } else if (entry.isFile()) {
      const { mode, size } = statSync(path);
      chmodSync(path, (mode & 0o111) === 0 ? 0o644 : 0o755);
      bytes += size;
    }
  }
  return bytes;
}
