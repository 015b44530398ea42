import { mkdirSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  /** What failed, a line each. */
  failures: string[];
}

/**
 * Ends a run with one line of counts, and leaves the counts of each file in
 * `.test-results/NAME.json`, from which `.ci/run-tests.js` and `.ci/run` add up.
 */
export class SummaryReporter implements Reporter {
  readonly #name: string;

  constructor(name: string) {
    this.#name = process.env['VMDKFS_TEST_RESULTS'] ?? name;
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const files: Record<string, Counts> = {};
    for (const module of modules) files[module.relativeModuleId] = countsOf(module);
    // Errors outside of any test: those of a file count as its own, so that it is run again.
    let elsewhere = 0;
    for (const error of errors) {
      const file = files[pathOf(error) ?? ''];
      if (file === undefined) elsewhere += 1;
      else {
        file.failed += 1;
        file.failures.push(`outside of any test: ${firstLine(error)}`);
      }
    }
    mkdirSync('.test-results', { recursive: true });
    writeFileSync(`.test-results/${this.#name}.json`, JSON.stringify({ files, elsewhere }));
    const total = { passed: 0, failed: elsewhere, skipped: 0 };
    for (const counts of Object.values(files)) {
      total.passed += counts.passed;
      total.failed += counts.failed;
      total.skipped += counts.skipped;
    }
    console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  }
}

function countsOf(module: TestModule): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
  // A file that has errors outside of its tests, or was never run to its end.
  if (module.errors().length > 0 || !['passed', 'skipped', 'failed'].includes(module.state())) {
    counts.failed += 1;
    counts.failures.push(`${module.state()}: ${module.errors().map(firstLine).join('; ')}`);
  }
  for (const test of module.children.allTests()) {
    const { errors, state } = test.result();
    if (state === 'passed' || state === 'failed') counts[state] += 1;
    else counts.skipped += 1;
    if (state === 'failed') {
      counts.failures.push(`${test.fullName}: ${errors.map(firstLine).join('; ')}`);
    }
  }
  return counts;
}

/** The test file that an error outside of any test came from, where vitest knows it. */
function pathOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('VITEST_TEST_PATH' in error))
    return undefined;
  return relative(process.cwd(), String(error.VITEST_TEST_PATH));
}

function firstLine(error: unknown): string {
  const { message } = error as { readonly message?: unknown };
  return String(message ?? error).split('\n', 1)[0] ?? '';
}
