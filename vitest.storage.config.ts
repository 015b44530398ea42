import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.js';
import { SummaryReporter } from './test/helpers/summary-reporter.js';

/** Storage that fails, hangs or is full, one test after the other, with nothing beside them. */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [], exclude: [], reporters: [] } },
  defineConfig({
    test: {
      include: ['test/e2e/storage-*.test.ts', 'test/e2e/full-disk.test.ts'],
      env: { VMDKFS_FULL_DISK_MIB: '2048' },
      maxWorkers: 1,
      testTimeout: 400_000,
      reporters: ['default', new SummaryReporter('storage')],
    },
  }),
);
