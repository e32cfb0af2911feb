export function electronIn(folder: string): string | null;
export function ensureElectron(packageFolder: string, say: (line: string) => void): { file: string } | { why: string };
