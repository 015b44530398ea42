/**
 * Runs a suite: `node .ci/run-tests.js test|long|storage|pack [vitest's arguments]`. Files of tests
 * in which something fails are run a second time, alone, because tests of kills, time limits and
 * busy mounts depend on what else the machine does; what fails twice has failed. Both runs are
 * printed. Leaves the counts in `.test-results/NAME.json`.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** More failing files than this are no accident of a busy machine. */
const AGAIN_MAX = 8;

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(
  dirname(createRequire(import.meta.url).resolve('vitest/package.json')),
  'vitest.mjs',
);
const [name = 'test', ...rest] = process.argv.slice(2);
const config = name === 'test' ? 'vitest.config.ts' : `vitest.${name}.config.ts`;

/** The counts of each file of one run. */
function run(resultName, args) {
  const file = join(root, `.test-results/${resultName}.json`);
  rmSync(file, { force: true });
  const { status } = spawnSync(process.execPath, [vitest, 'run', '--config', config, ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, VMDKFS_TEST_RESULTS: resultName },
  });
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // Ended before any result: what vitest printed says why.
    return { files: {}, elsewhere: Math.max(1, Math.sign(status ?? 1)) };
  }
}

const results = run(name, rest);
const failing = Object.keys(results.files).filter((path) => results.files[path].failed > 0);
const onceMore = failing.length > 0 && failing.length <= AGAIN_MAX && results.elsewhere === 0;
let secondTry = 0;
if (onceMore) {
  console.log(`== failed, and run once more, alone: ${failing.join(', ')}`);
  const options = rest.filter((argument) => argument.startsWith('-'));
  const again = run(`${name}-again`, ['--maxWorkers', '1', ...options, ...failing]);
  for (const path of failing) {
    const counts = again.files[path];
    if (counts === undefined) continue;
    if (counts.failed === 0) secondTry += 1;
    results.files[path] = counts;
  }
  results.elsewhere += again.elsewhere;
}

const total = { passed: 0, failed: results.elsewhere, skipped: 0 };
for (const counts of Object.values(results.files)) {
  for (const key of Object.keys(total)) total[key] += counts[key];
}
const failures = Object.entries(results.files).flatMap(([path, counts]) =>
  counts.failures.map((failure) => `${path}: ${failure}`),
);
if (onceMore) {
  console.log(`== ${secondTry} of ${failing.length} files passed when they were run alone`);
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
}
writeFileSync(join(root, `.test-results/${name}.json`), JSON.stringify({ ...total, failures }));
process.exitCode = total.failed === 0 && total.passed + total.skipped > 0 ? 0 : 1;
