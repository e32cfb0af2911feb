import type { SupervisorOptions } from '../../main/host/supervisor.ts';

/** What child processes of a test are told. @param home of the test, there already */
export const childSettings = (home: string): SupervisorOptions['settings'] => ({
  home,
  demo: false,
  version: '9.9.9',
  testRuntime: false,
  logLevel: 'info',
  stderrLevel: null,
  trainerThreads: 1,
});
