import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.js';
import { SummaryReporter } from './test/helpers/summary-reporter.js';

/** The package, packed and installed: what is in it, and end-to-end tests that run it. */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [], exclude: [], reporters: [] } },
  defineConfig({
    test: {
      include: [
        'test/pack/**/*.test.ts',
        'test/e2e/{check,completion,create,guide,lifecycle,locks,subformats}.test.ts',
      ],
      globalSetup: ['test/pack/install.ts'],
      testTimeout: 180_000,
      reporters: ['default', new SummaryReporter('pack')],
    },
  }),
);
