/** Set by main/host/build/build.mjs: a build made with --test-runtime. */
declare const __TEST_RUNTIME__: boolean;
/** Folder of the bundles, from the program's root: dist, or dist/test-runtime. */
declare const __BUNDLE__: string;
/** Folder of the built window, from the program's root. */
declare const __RENDERER__: string;
