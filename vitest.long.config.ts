import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.js';
import { SummaryReporter } from './test/helpers/summary-reporter.js';

/** The random-operation models, power cuts and kill rounds again, with many more runs. */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [], reporters: [] } },
  defineConfig({
    test: {
      include: ['test/model/**/*.test.ts', 'test/crash/**/*.test.ts'],
      testTimeout: 1_200_000,
      env: {
        VMDKFS_MODEL_RUNS: '400',
        VMDKFS_HANDOVER_ROUNDS: '13',
        VMDKFS_KILL_ROUNDS: '32',
        VMDKFS_REMOUNT_ROUNDS: '10',
        VMDKFS_CRASH_STATES: '120000',
      },
      reporters: ['default', new SummaryReporter('long')],
    },
  }),
);
