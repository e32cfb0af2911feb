import type { Reporter, TestModule } from 'vitest/node';

/** Prints by name what passed only when it was tried anew, with what had failed, which nothing else tells; and the closing line `N passed, N failed, N skipped`; a file or suite that fails outside its tests counts as one failure. */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandled.length, skipped: 0 };
    const anew: string[] = [];
    for (const module of modules) {
      if (module.errors().length > 0) count.failed += 1;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) count.failed += 1;
      for (const test of module.children.allTests()) {
        const { state, errors = [] } = test.result();
        if (test.diagnostic()?.flaky) {
          const said = errors.flatMap(({ message }) => message.split('\n').map((line) => `    ${line}`));
          anew.push([`  ${module.relativeModuleId}: ${test.fullName}`, ...said].join('\n'));
        }
        if (state === 'passed') count.passed += 1;
        else if (state === 'failed') count.failed += 1;
        else count.skipped += 1;
      }
    }
    if (anew.length > 0) console.log(`\nPassed only when tried anew:\n${anew.join('\n')}`);
    console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  }
}
