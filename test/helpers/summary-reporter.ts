import { mkdirSync, writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** Ends a run with one line of counts, and leaves them in `.test-results` for `.ci/run` to add up. */
export class SummaryReporter implements Reporter {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed += 1;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed' || state === 'failed') counts[state] += 1;
        else counts.skipped += 1;
      }
    }
    mkdirSync('.test-results', { recursive: true });
    writeFileSync(`.test-results/${this.#name}.json`, JSON.stringify(counts));
    const { passed, failed, skipped } = counts;
    console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  }
}
