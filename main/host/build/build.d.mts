export interface BuildOptions {
  testRuntime?: boolean;
  bundle?: string;
  renderer?: string;
  entries?: string;
}
export function buildProcesses(options?: BuildOptions): Promise<void>;
export function buildRenderer(): Promise<void>;
