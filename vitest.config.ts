import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/helpers/summary-reporter.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Storage that hangs stalls writers all over the machine: those tests run alone. Those of the
    // package need it packed and installed.
    exclude: ['node_modules', 'test/e2e/storage-*.test.ts', 'test/pack/**'],
    // Two cores; mounts and loop devices are few.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', new SummaryReporter('test')],
  },
});
