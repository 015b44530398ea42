/**
 * `npm run bench`: vmdkfs, QEMU, a C server without any VMDK, and plain files, measured in turns
 * with fio. A line for each measurement goes to stderr, a Markdown table of medians to stdout.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { abortOnSignals, runCommand } from './command.js';
import { Disks } from './disks.js';
import { JOBS, type Job } from './jobs.js';
import { checkMachine, machineFacts } from './machine.js';
import { measureAll, usableSubjects, type Bench, type Measurement } from './measure.js';
import { withResult } from './note.js';
import { parseOptions, type Options } from './options.js';
import { NOTE } from './paths.js';
import { messageOf } from './programs.js';
import { measurementLine, resultTable } from './report.js';
import { allSubjects } from './subjects.js';

const MIB = 1024 * 1024;

const interruption = abortOnSignals();

await runCommand('bench', () => main(parseOptions(process.argv.slice(2))));

async function main(options: Options): Promise<void> {
  const jobs = JOBS.filter(({ name }) => name.includes(options.only));
  if (jobs.length === 0) {
    const names = JOBS.map(({ name }) => `  ${name}\n`).join('');
    throw new Error(`no job's name contains ${JSON.stringify(options.only)}:\n${names}`);
  }
  checkMachine();
  if (options.write) checkNote();
  const facts = await machineFacts();
  const table = resultTable(await measureInFolder(options, jobs));
  const conditions = `runs: ${options.runs}, disks of ${options.bytes / MIB} MiB`;
  const date = new Date().toISOString().slice(0, 10);
  const result = `${table}\n${facts}; ${conditions}; ${date}.\n`;
  process.stdout.write(result);
  if (options.write) writeFileSync(NOTE, withResult(readFileSync(NOTE, 'utf8'), result));
}

/** Fails before anything is measured where the result could not be written. */
function checkNote(): void {
  try {
    withResult(readFileSync(NOTE, 'utf8'), '');
  } catch (error) {
    throw new Error(`--write: ${NOTE}: ${messageOf(error)}`, { cause: error });
  }
}

/** Measures in a temporary folder, which is removed whatever happens. */
async function measureInFolder(options: Options, jobs: readonly Job[]): Promise<Measurement[]> {
  const folder = await realpath(await mkdtemp(join(options.folder, 'vmdkfs-bench-')));
  try {
    const kinds = jobs.map(({ disk }) => disk);
    const interrupt = interruption.signal;
    const disks = await Disks.prepare(folder, kinds, options.bytes, interrupt);
    return await measureJobs({ ...options, folder, disks, interrupt }, jobs, options.floor);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureJobs(
  bench: Bench,
  jobs: readonly Job[],
  floor: string | undefined,
): Promise<Measurement[]> {
  const wanted = allSubjects(floor).filter(({ name }) =>
    jobs.some(({ subjects }) => subjects.includes(name)),
  );
  const subjects = await usableSubjects(bench, wanted, (name, reason) => {
    console.error(`${name}: left out: ${reason}`);
  });
  const measurements: Measurement[] = [];
  for await (const measurement of measureAll(bench, jobs, subjects)) {
    console.error(measurementLine(measurement));
    measurements.push(measurement);
  }
  return measurements;
}
