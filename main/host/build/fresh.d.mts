/** The window, built when missing or older than its sources; whether it was built. */
export function ensureRenderer(): Promise<boolean>;
/** The bundles of shell and processes, likewise. */
export function ensureProcesses(): Promise<boolean>;
