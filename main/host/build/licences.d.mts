export const LICENCES: string;
export function packagesOf(files: Iterable<string>): string[];
export function packagesBeside(program: string): string[];
export function packagesOfModels(): string[];
export function licencesText(packages: string[]): string;
