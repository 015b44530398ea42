/**
 * `npm run soak`: disks of all kinds worked on for minutes or hours. It fails at the first wrong
 * byte, at an image that is not clean after an unmount, and when a server grows.
 */
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { abortOnSignals, runCommand } from '../bench/command.js';
import { missingProgram } from '../bench/programs.js';
import { parseOptions, type Options } from './options.js';
import { SOAK_DISKS } from './soak-disks.js';
import { takeTurn } from './turn.js';

const PROGRAMS = ['fio', 'qemu-img', 'qemu-io', 'losetup', 'mkfs.ext4', 'e2fsck'];

/** The longest turn of one disk; in hours of soaking every disk has many. */
const TURN_MS = 120_000;

const interruption = abortOnSignals();

await runCommand('soak', () => main(parseOptions(process.argv.slice(2))));

async function main(options: Options): Promise<void> {
  const reason =
    process.getuid?.() === 0
      ? PROGRAMS.map(missingProgram).find((missing) => missing !== undefined)
      : 'loop devices need root';
  if (reason !== undefined) throw new Error(reason);
  const folder = await realpath(await mkdtemp(join(options.folder, 'vmdkfs-soak-')));
  try {
    await soak(folder, options.minutes * 60_000);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function soak(folder: string, milliseconds: number): Promise<void> {
  const begin = performance.now();
  const length = Math.min(TURN_MS, milliseconds / SOAK_DISKS.length);
  let turns = 0;
  while (turns < SOAK_DISKS.length || performance.now() - begin < milliseconds) {
    const disk = SOAK_DISKS[turns % SOAK_DISKS.length];
    if (disk === undefined) break;
    const place = join(folder, String(turns));
    await mkdir(place);
    await takeTurn({
      disk,
      folder: place,
      end: performance.now() + length,
      interrupt: interruption.signal,
      say: (line) => {
        console.error(line);
      },
    });
    interruption.signal.throwIfAborted();
    await rm(place, { recursive: true });
    turns += 1;
  }
  const minutes = ((performance.now() - begin) / 60_000).toFixed(1);
  console.log(
    `${turns} turns of ${SOAK_DISKS.length} kinds of disk in ${minutes} minutes: all well`,
  );
}
