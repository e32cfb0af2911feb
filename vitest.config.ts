import { defineConfig } from 'vitest/config';

/** Native addons (ORT, SQLite, sharp) dislike VM realms and worker threads that end: forks only. */
export default defineConfig({
  test: {
    pool: 'forks',
    include: ['test/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ['default', './test/helpers/count-reporter.ts'],
  },
});
