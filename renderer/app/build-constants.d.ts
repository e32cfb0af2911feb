/** Set by vite.config.ts: the program's version when the window was built. */
declare const __WINDOW_VERSION__: string;
