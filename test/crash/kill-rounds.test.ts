/**
 * The server is killed at random moments under load, again and again on the same images. After each
 * kill: the mount is gone, the next one works at once, everything that was synced is there, every
 * other byte is an old or a new one, and no checker finds damage. VMDKFS_KILL_ROUNDS sets how often
 * for each disk.
 */
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { serveInForeground, type Foreground } from '../helpers/foreground.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';
import { killWhileWriting } from './kill-while-writing.js';
import { CRASH_DISKS, type CrashDisk } from './crash-disks.js';
import {
  newBank,
  planLane,
  Random,
  RecordedDisk,
  type LaneProgress,
  type WriteRecord,
} from './recorded-disk.js';

const ROUNDS = Number(process.env['VMDKFS_KILL_ROUNDS'] ?? 3);

/** Images of each kind that are worked on side by side, and share the rounds. */
const SIDE_BY_SIDE = 2;

/** Milliseconds from the first write to the kill. */
const KILL_MIN = 20;
const KILL_MAX = 300;

/** More records than any round gets to. */
const RECORDS = 3000;

/** A mount's options, in turn. */
const OPTIONS = [[], ['--workers', '4'], ['-o', 'writeback_cache'], ['--workers', '1']] as const;

const WRITER = fileURLToPath(new URL('record-writer.js', import.meta.url));
const LIBC = new URL('../../dist/os/libc.js', import.meta.url).href;

let kills = 0;
const longest = { mount: 0, gone: 0 };
afterAll(() => {
  const times = `next mount within ${longest.mount} ms, dead mounts gone within ${longest.gone} ms`;
  console.log(`${kills} kills survived (${times})`);
});

/** Writes `lanes` to the disk of `server` until that is killed after `wait` ms; how far it came. */
async function writeUntilKilled(
  server: Foreground,
  lanes: readonly WriteRecord[][],
  files: { plan: string; bank: string },
  wait: number,
): Promise<LaneProgress[]> {
  writeFileSync(files.plan, JSON.stringify(lanes));
  const args = [WRITER, server.disk, files.plan, files.bank, LIBC];
  const progress = lanes.map(() => ({ begun: 0, synced: 0 }));
  await killWhileWriting(server, args, wait, (line) => {
    const [word, lane, index] = line.split(' ');
    const place = progress[Number(lane)];
    if (place === undefined) return false;
    if (word === 'begin') place.begun = Number(index) + 1;
    else if (word === 'synced') place.synced = Number(index) + 1;
    else return false;
    return true;
  });
  return progress;
}

/** Mounts, and notes how long that took. */
async function mountTimed(image: string, args: readonly string[]): Promise<Foreground> {
  const begin = performance.now();
  const server = await serveInForeground(image, args);
  longest.mount = Math.max(longest.mount, Math.round(performance.now() - begin));
  return server;
}

async function mountIsGone(server: Foreground): Promise<void> {
  const begin = performance.now();
  await until('the dead mount is gone', 5000, () => !isMountedAt(server.mountpoint));
  longest.gone = Math.max(longest.gone, Math.round(performance.now() - begin));
}

async function runRounds(
  rounds: number,
  made: CrashDisk,
  folder: string,
  seed: number,
): Promise<void> {
  const files = { plan: join(folder, 'plan'), bank: join(folder, 'bank') };
  const bank = newBank(seed);
  writeFileSync(files.bank, bank);
  const random = new Random(seed);
  const disk = new RecordedDisk(made.content, bank);
  const middle = Math.floor(made.content.length / 2) + 7;
  let lanes: WriteRecord[][] = [];
  let progress: LaneProgress[] = [];
  for (let round = 0; ; round++) {
    const options = OPTIONS[(round + seed) % OPTIONS.length] ?? [];
    const server = await mountTimed(made.image, [...(made.options ?? []), ...options]);
    disk.found(await readFile(server.disk), lanes, progress);
    if (round === rounds) {
      server.child.kill('SIGTERM');
      expect(await server.ended).toBe(0);
      break;
    }
    lanes = [
      planLane(random, 0, middle, { count: RECORDS, holes: true }),
      planLane(random, middle, made.content.length, { count: RECORDS, holes: true }),
    ];
    const wait = KILL_MIN + random.below(KILL_MAX - KILL_MIN);
    progress = await writeUntilKilled(server, lanes, files, wait);
    kills += 1;
    await mountIsGone(server);
    expect(await made.problems(), `round ${round}, killed after ${wait} ms`).toEqual([]);
  }
  expect(await made.problems()).toEqual([]);
}

describe.skipIf(isMissing('kill rounds', 'fuse', 'qemu'))('killed while it is written to', () => {
  const cases = CRASH_DISKS.map((kind, index) => ({ kind, name: kind.name, seed: index }));

  test.each(cases)('$name', { timeout: 600_000 }, async ({ kind, seed }) => {
    const lanes = Array.from({ length: SIDE_BY_SIDE }, async (_, lane) => {
      const folder = tempFolder();
      const rounds = Math.floor((ROUNDS + lane) / SIDE_BY_SIDE);
      await runRounds(rounds, kind.make(folder), folder, seed * SIDE_BY_SIDE + lane);
    });
    await Promise.all(lanes);
  });
});
