// Microsoft's C++ runtime, which ONNX Runtime is linked with on Windows and a fresh Windows has not.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './launch.mjs';

/** ONNX Runtime's files for Windows, of an architecture. */
export const windowsModules = (arch) => join(root, 'node_modules/onnxruntime-node/bin/napi-v6/win32', arch);
/** What electron-builder.yml takes from. */
export const VISUAL_CPP = join(root, 'dist', 'visual-cpp');
const IS_RUNTIME = /^(msvcp|vcruntime|concrt)\w*\.dll$/;

/**
 * Copies what the modules need of it from a folder, and what that needs in turn. They lie beside the modules then (electron-builder.yml):
 * Node loads an addon so that Windows looks in the addon's folder and the system's, and not in the program's.
 * @param {{modules: string, system: string, into: string}} folders `system`: where the packing PC has it; `into` is emptied first
 * @returns {string[]} names, in lower case
 * @throws where one is missing there: a program that cannot judge would be packed
 */
export function gatherVisualCpp({ modules, system, into }) {
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into, { recursive: true });
  const needed = new Set(readdirSync(modules).flatMap((name) => runtimeOf(join(modules, name))));
  for (const name of needed) {
    const from = join(system, name);
    if (!existsSync(from))
      throw new Error(
        `${from} is missing, and the program needs it where it is installed: install the Visual C++ 2015-2022 Redistributable on this PC`,
      );
    copyFileSync(from, join(into, name));
    for (const more of runtimeOf(from)) needed.add(more);
  }
  return [...needed].toSorted();
}

const runtimeOf = (file) => importsOf(readFileSync(file)).filter((name) => IS_RUNTIME.test(name));

/**
 * Names of the libraries that a 64-bit Windows module is linked with, in lower case (Microsoft, "PE Format": import directory table).
 * @param {Buffer} bytes
 * @returns {string[]}
 */
export function importsOf(bytes) {
  const header = bytes.readUInt32LE(0x3c);
  if (bytes.toString('latin1', header, header + 4) !== 'PE\0\0') throw new Error('it is no Windows module');
  const optional = header + 24;
  if (bytes.readUInt16LE(optional) !== 0x20b) throw new Error('it is no 64-bit Windows module');
  const sections = optional + bytes.readUInt16LE(header + 20);
  const sectionCount = bytes.readUInt16LE(header + 6);
  /** Where in the file an address of the loaded module lies. */
  const offsetOf = (address) => {
    for (let i = 0; i < sectionCount; i += 1) {
      const section = sections + i * 40;
      const start = bytes.readUInt32LE(section + 12);
      if (address >= start && address < start + bytes.readUInt32LE(section + 16))
        return address - start + bytes.readUInt32LE(section + 20);
    }
    throw new Error(`nothing of the file is loaded at ${address}`);
  };
  const table = bytes.readUInt32LE(optional + 120);
  if (table === 0) return [];
  const names = [];
  for (let entry = offsetOf(table); bytes.readUInt32LE(entry + 12) !== 0; entry += 20) {
    const name = offsetOf(bytes.readUInt32LE(entry + 12));
    names.push(bytes.toString('latin1', name, bytes.indexOf(0, name)).toLowerCase());
  }
  return names;
}
