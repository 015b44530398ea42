/**
 * `npm run fuzz`: opens and uses damaged images until the time is over or one of them does what it
 * must not do. Case N is made from the number N alone, so a finding is tried again with
 * `--seed N --cases 1`; it is also made as small as it gets, and saved.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { fuzzCases, type FuzzCase } from './cases.js';
import { parseOptions, type Options } from './options.js';
import { makeImage } from './make-image.js';
import { makeSeeds } from './seeds.js';
import { Tally } from './tally.js';
import { Tester } from './tester.js';

/** Time for making a finding smaller. */
const SHRINK_MILLISECONDS = 120_000;

/** Errors of seeds that are not damaged: some of their extents are not written, one is not read. */
const SEED_CODES = ['EROFS', 'EIO'];

interface Found {
  readonly number: number;
  readonly fuzzed: FuzzCase;
  readonly finding: string;
}

const options = parseOptions(process.argv.slice(2));
const seeds = makeSeeds();
const root = mkdtempSync(join(options.folder, 'vmdkfs-fuzz-'));
const testers = Array.from(
  { length: options.workers },
  (_, index) => new Tester(join(root, String(index))),
);
try {
  const isFine = options.replay === undefined ? await fuzz(options) : await replay(options.replay);
  process.exitCode = isFine ? 0 : 1;
} finally {
  for (const tester of testers) tester.close();
  rmSync(root, { recursive: true, force: true });
}

async function fuzz({ cases, minutes, seed }: Options): Promise<boolean> {
  console.log(`seed ${seed}`);
  const arbitrary = fuzzCases(seeds);
  const tally = new Tally();
  const end = performance.now() + minutes * 60_000;
  for (const tester of testers.slice(0, 1)) await assertSeedsOpen(tester);
  let next = seed;
  let found: Found | undefined;
  const work = async (tester: Tester): Promise<void> => {
    while (found === undefined && performance.now() < end && next - seed < cases) {
      const number = next++;
      const [fuzzed] = fc.sample(arbitrary, { seed: scattered(number), numRuns: 1 });
      if (fuzzed === undefined) return;
      const verdict = await tester.try(fuzzed);
      tally.add(number, fuzzed.edits.length, verdict);
      if (verdict.finding !== undefined) found ??= { number, fuzzed, finding: verdict.finding };
    }
  };
  await Promise.all(testers.map(work));
  for (const line of tally.lines()) console.log(line);
  if (found === undefined) return true;
  await report(found, arbitrary);
  return false;
}

/** Seeds that follow one another begin alike in fast-check. */
function scattered(number: number): number {
  return Math.imul(number, 0x9e3779b1);
}

/** Without damage every seed opens for reading; otherwise the fuzzer would try nothing. */
async function assertSeedsOpen(tester: Tester): Promise<void> {
  const steps = [{ kind: 'write' as const, at: 0, length: 9000 }];
  const usual = { edits: [], steps, force: false, dropChangeTracking: true };
  for (const { name: seed } of seeds) {
    const { finding, use } = await tester.try({ ...usual, seed, tableMemory: undefined });
    const codes = use?.operations.filter((code) => !SEED_CODES.includes(code)) ?? [];
    if (use?.reading === 'opened' && finding === undefined && codes.length === 0) continue;
    throw new Error(`seed ${seed}: ${finding ?? JSON.stringify(use)}`);
  }
}

/** Makes what was found as small as it gets, and saves it. */
async function report(found: Found, arbitrary: fc.Arbitrary<FuzzCase>): Promise<void> {
  const { number } = found;
  console.log(`FOUND in case ${number}: ${found.finding}`);
  const [tester] = testers;
  if (tester === undefined) return;
  let smallest = found;
  const property = fc.asyncProperty(arbitrary, async (fuzzed) => {
    const { finding } = await tester.try(fuzzed);
    if (finding !== undefined) smallest = { number, fuzzed, finding };
    return finding === undefined;
  });
  const limit = { interruptAfterTimeLimit: SHRINK_MILLISECONDS };
  await fc.check(property, { seed: scattered(number), numRuns: 1, ...limit });
  const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-fuzz-finding-'));
  const saved = join(folder, 'case.json');
  writeFileSync(saved, JSON.stringify(smallest.fuzzed, undefined, 1));
  makeImage(join(folder, 'image'), smallest.fuzzed, seeds);
  console.log(`at its smallest: ${smallest.finding.split('\n', 3).join('\n')}`);
  console.log(JSON.stringify(smallest.fuzzed).slice(0, 4000));
  console.log(`saved in ${folder}`);
  console.log(`again: npm run fuzz -- --seed ${number} --cases 1, or --replay ${saved}`);
}

async function replay(file: string): Promise<boolean> {
  const verdict = await testers[0]?.try(JSON.parse(readFileSync(file, 'utf8')) as FuzzCase);
  console.log(JSON.stringify(verdict, undefined, 1));
  return verdict?.finding === undefined;
}
