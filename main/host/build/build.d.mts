export interface BuildOptions {
  testRuntime?: boolean;
  bundle?: string;
  renderer?: string;
  entries?: string;
}
export function buildProcesses(options?: BuildOptions): Promise<string[]>;
export function buildRenderer(): Promise<string[]>;
