/**
 * `npm run bench:convert`: conversions of a disk that is half empty, ours beside those of QEMU, in
 * turns. What QEMU writes may still be in memory when it ends; ours is on storage.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, realpath, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { abortOnSignals, runCommand } from './command.js';
import { compressibleFilling } from './filling.js';
import { parseOptions, type Options } from './options.js';
import { missingProgram, run } from './programs.js';
import { CLI } from './paths.js';
import { median, medianRatio, rotated } from './statistics.js';

const MIB = 1024 * 1024;
/** Data and holes take turns of this size. */
const TURN_BYTES = 32 * MIB;

/** A way to convert. */
interface Way {
  readonly name: string;
  readonly command: (input: string, output: string, kind: string) => [string, ...string[]];
}

const WAYS: readonly Way[] = [
  {
    name: 'vmdkfs',
    command: (input, output, kind) => [process.execPath, CLI, 'convert', input, output, '-t', kind],
  },
  { name: 'qemu', command: (input, output, kind) => qemu([], input, output, kind) },
  {
    name: 'qemu -W -m 2',
    command: (input, output, kind) => qemu(['-W', '-m', '2'], input, output, kind),
  },
];

function qemu(
  flags: readonly string[],
  input: string,
  output: string,
  kind: string,
): [string, ...string[]] {
  const kindOption = `subformat=${kind}`;
  return ['qemu-img', 'convert', ...flags, '-O', 'vmdk', '-o', kindOption, input, output];
}

interface Job {
  readonly name: string;
  readonly input: 'plain' | 'image';
  readonly kind: string;
}

const JOBS: readonly Job[] = [
  { name: 'plain to sparse', input: 'plain', kind: 'monolithicSparse' },
  { name: 'image to sparse', input: 'image', kind: 'monolithicSparse' },
  { name: 'plain to streamOptimized', input: 'plain', kind: 'streamOptimized' },
  { name: 'image to streamOptimized', input: 'image', kind: 'streamOptimized' },
];

/** Seconds and bytes of one way, in the order of the runs. */
interface Results {
  readonly seconds: number[];
  readonly bytes: number[];
}

const interruption = abortOnSignals();

await runCommand('bench:convert', () => main(parseOptions(process.argv.slice(2))));

async function main(options: Options): Promise<void> {
  const missing = missingProgram('qemu-img');
  if (missing !== undefined) throw new Error(missing);
  const folder = await realpath(await mkdtemp(join(options.folder, 'vmdkfs-convert-')));
  try {
    const inputs = await makeInputs(folder, options.bytes);
    process.stdout.write(tableHead());
    for (const job of JOBS.filter(({ name }) => name.includes(options.only))) {
      process.stdout.write(tableRow(job, await measure(job, inputs[job.input], folder, options)));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function makeInputs(folder: string, bytes: number): Promise<Record<Job['input'], string>> {
  const plain = join(folder, 'plain.raw');
  await truncate(plain, 0).catch(() => undefined);
  for (let start = 0, fresh = true; start < bytes; start += 2 * TURN_BYTES, fresh = false) {
    const length = Math.min(TURN_BYTES, bytes - start);
    const target = createWriteStream(plain, fresh ? {} : { flags: 'r+', start });
    await pipeline(compressibleFilling(length), target);
  }
  await truncate(plain, bytes);
  const image = join(folder, 'image.vmdk');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'vmdk', plain, image]);
  // Nothing of it is to be written while others are measured.
  await run('sync', [plain, image]);
  return { plain, image };
}

async function measure(
  job: Job,
  input: string,
  folder: string,
  { runs }: Options,
): Promise<Results[]> {
  const results = WAYS.map((): Results => ({ seconds: [], bytes: [] }));
  const output = join(folder, 'out.vmdk');
  for (let turn = 0; turn < runs; turn++) {
    for (const way of rotated(WAYS, turn)) {
      const [program, ...args] = way.command(input, output, job.kind);
      const begin = performance.now();
      await run(program, args, interruption.signal);
      const seconds = (performance.now() - begin) / 1000;
      const { size } = await stat(output);
      await rm(output);
      const result = results[WAYS.indexOf(way)];
      result?.seconds.push(seconds);
      result?.bytes.push(size);
      console.error(`run ${turn + 1}: ${job.name}: ${way.name}: ${seconds.toFixed(2)} s`);
    }
  }
  return results;
}

function tableHead(): string {
  const columns = ['job', ...WAYS.map(({ name }) => `${name} s`)];
  const others = WAYS.slice(1).map(({ name }) => `${name} / vmdkfs`);
  const all = [...columns, ...others, 'size / qemu'];
  return `| ${all.join(' | ')} |\n| ${all.map((_, index) => (index === 0 ? '---' : '--:')).join(' | ')} |\n`;
}

function tableRow(job: Job, results: readonly Results[]): string {
  const [ours, ...others] = results;
  if (ours === undefined) return '';
  const cells = [
    job.name,
    ...results.map(({ seconds }) => median(seconds).toFixed(2)),
    ...others.map(({ seconds }) => medianRatio(seconds, ours.seconds).toFixed(2)),
    medianRatio(ours.bytes, others[0]?.bytes ?? []).toFixed(3),
  ];
  return `| ${cells.join(' | ')} |\n`;
}
