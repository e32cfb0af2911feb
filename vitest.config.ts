import { defineConfig } from 'vitest/config';

/** Native addons (ORT, SQLite, sharp) dislike VM realms and worker threads that end: forks only. */
export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    // Limits that end what hangs. How quick the machine is beside other work is not tested here.
    testTimeout: 240_000,
    hookTimeout: 300_000,
    // The default of one second is over before a busy machine has looked twice.
    expect: { poll: { timeout: 30_000 } },
    reporters: ['default', './test/helpers/count-reporter.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'calculated',
          include: ['test/{unit,numeric,store,contract}/**/*.test.ts'],
          // One file after the other in the same process: half of the time of small ones was beginning anew. A test leaves nothing behind but what it made for itself.
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          // Real processes, sockets and browsers on a machine with other work: once more, in a world of its own (helpers/story.ts), and named in the closing lines. `test/bench/repeat.ts` counts it as failed.
          name: 'machine',
          include: ['test/{capture,process,e2e}/**/*.test.ts'],
          retry: 1,
          globalSetup: './test/helpers/unpack-browser.ts',
          expect: { poll: { timeout: 60_000 } },
        },
      },
    ],
  },
});
