// Licences of all that is packed: nearly each of them asks to be handed on with the code, and of comments a bundle keeps none.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './launch.mjs';

/** In the folder of the unpacked program, beside those of Electron and Chromium. */
export const LICENCES = 'LICENSES.mekiki.txt';

/**
 * Folders of the packages that files belong to, the innermost where one lies in another; the project's own files belong to none.
 * @param {Iterable<string>} files paths, as bundlers name modules
 * @returns {string[]} in alphabetical order
 */
export function packagesOf(files) {
  const found = new Set();
  for (const file of files) {
    const folder = /^\0?(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/?]+)/.exec(file)?.[1];
    if (folder !== undefined && existsSync(join(folder, 'package.json'))) found.add(folder);
  }
  return [...found].toSorted();
}

/**
 * Folders of the packages that lie beside the archive of a packed program.
 * @param {string} program folder of the unpacked program
 */
export function packagesBeside(program) {
  const folder = join(program, 'resources', 'app.asar.unpacked', 'node_modules');
  const names = readdirSync(folder).flatMap((name) =>
    name.startsWith('@') ? readdirSync(join(folder, name)).map((each) => `${name}/${each}`) : [name],
  );
  // As installed: what is packed of them may lack the licence.
  return packagesOf(names.map((name) => join(root, 'node_modules', name)));
}

/** The packages that the shipped backbones are made of. */
export function packagesOfModels() {
  const text = readFileSync(join(root, 'native-models', 'manifest.json'), 'utf8');
  return packagesOf([...text.matchAll(/"package": "([^"]+)"/g)].map(([, name]) => join(root, 'node_modules', name)));
}

/** The project's own licence, and name, version and licence of each package. @param {string[]} packages folders */
export const licencesText = (packages) =>
  [readFileSync(join(root, 'LICENSE'), 'utf8'), ...new Set(packages.map(licenceOf))].join(`\n${'='.repeat(80)}\n\n`);

function licenceOf(folder) {
  const { name, version, license, author, homepage } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const texts = readdirSync(folder)
    .filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());
  const by = typeof author === 'string' ? author : author?.name;
  return [
    `${name} ${version}: ${license}${by ? `, by ${by}` : ''}`,
    ...(homepage ? [homepage] : []),
    '',
    ...(texts.length > 0 ? texts : ['The package states its licence by that name alone.']),
    '',
  ].join('\n');
}
