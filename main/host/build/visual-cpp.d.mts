export function windowsModules(arch: string): string;
export const VISUAL_CPP: string;
export function gatherVisualCpp(folders: { modules: string; system: string; into: string }): string[];
export function importsOf(bytes: Buffer): string[];
