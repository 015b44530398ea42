/**
 * The power fails while `vmdkfs check --repair` mends: at every write, hole and change of length, with
 * any part of what no barrier covers. What is left is no worse than before, mending it again makes it
 * sound, and the disk holds what it held.
 */
import { afterAll, describe, expect, test, vi } from 'vitest';
import { checkAndRepair, type CheckReport } from '../../src/block/check/check-and-repair.js';
import { openImage } from '../../src/block/open-image.js';
import { pattern } from '../helpers/made-disk.js';
import { inspectFiles, readDisk } from './check-state.js';
import { recordChanges, tryCuts } from './cut-states.js';
import { loadFiles, memoryFiles } from './memory-host.js';
import { TINY_DISKS, type TinyDisk } from './tiny-disks.js';
import { diskOffset, imagePath } from './workload.js';

vi.mock('node:fs', async (original) => {
  const { fsInMemory } = await import('./memory-host.js');
  return fsInMemory(await original());
});
vi.mock('../../src/os/file-io.js', async (original) => {
  const { fileIoInMemory } = await import('./memory-host.js');
  return fileIoInMemory(await original());
});

const PLAN = { exhaustive: 512, samples: 24 };
const SECTOR = 512;

/** States of one damaged disk at most. */
const STATES = 1500;

type Files = Map<string, Buffer>;

/** Bytes that nothing leads to, at the end. */
const LEAKED = Buffer.alloc(40 * SECTOR, 0xee);

function sectorAt(file: Buffer, offset: number): number {
  return Number(file.readBigUInt64LE(offset)) * SECTOR;
}

/** Entries that lead past the end or differ, a table that is lost, the mark, and what is leaked. */
function damageHosted(file: Buffer): Buffer {
  const [redundant, primary] = [sectorAt(file, 48), sectorAt(file, 56)];
  const [copy, table] = [redundant, primary].map((at) => file.readUInt32LE(at) * SECTOR);
  if (copy === undefined || table === undefined) throw new Error('no tables');
  file.writeUInt32LE(0x7fffffff, table + 4);
  file.writeUInt32LE(0, copy);
  file.writeUInt32LE(0x7fffff00, primary + 4);
  file.writeUInt8(1, 72);
  return Buffer.concat([file, LEAKED]);
}

/** Only the mark and what is leaked, so that the file is made shorter. */
function damageEnd(file: Buffer): Buffer {
  file.writeUInt8(1, 72);
  return Buffer.concat([file, LEAKED]);
}

function damageCowd(file: Buffer): Buffer {
  file.writeUInt32LE(5, 28);
  file.writeUInt32LE(1, 1648);
  return file;
}

/** Bitmap, backmap and number of tables, at the offsets that the header gives. */
function damageSeSparse(file: Buffer): Buffer {
  file.fill(0, sectorAt(file, 20 * 8), sectorAt(file, 20 * 8) + 2);
  file.fill(0, sectorAt(file, 22 * 8), sectorAt(file, 22 * 8) + 24);
  file.fill(0, SECTOR + 8, SECTOR + 16);
  return file;
}

const CASES: readonly (readonly [what: string, disk: RegExp, damage: (file: Buffer) => Buffer])[] =
  [
    ['entries and a table', /^sparse, grains of 512 B/, damageHosted],
    ['entries and a table', /^sparse with zeroed grains/, damageHosted],
    ['leaked space', /^sparse without redundant tables/, damageEnd],
    ['leaked space', /^sparse without tables/, damageEnd],
    ['leaked space', /^child over/, damageEnd],
    ['free space', /^COWD, grains of 512 B/, damageCowd],
    ['its records', /^seSparse/, damageSeSparse],
  ];

const disks = TINY_DISKS.map((make) => make());

/** The disk with something written to it, and then damaged. */
function damaged(disk: TinyDisk, damage: (file: Buffer) => Buffer): TinyDisk {
  loadFiles(disk.files);
  const { device } = openImage(imagePath(disk), { readOnly: false });
  for (const at of [0, disk.content.length - 4000]) {
    const bytes = pattern(4000, at + 1);
    device.write(bytes, 0, bytes.length, diskOffset(disk, at));
  }
  device.close();
  const content = readDisk(disk);
  const files: Files = new Map();
  for (const { content: bytes, path } of memoryFiles()) {
    const isExtent = /^(KDMV|COWD|\xbe\xba\xfe\xca)/.test(bytes.toString('latin1', 0, 4));
    const copy = Buffer.from(bytes);
    files.set(path.split('/').at(-1) ?? path, isExtent ? damage(copy) : copy);
  }
  return { ...disk, files, content };
}

const check = (disk: TinyDisk, repair: boolean): CheckReport =>
  checkAndRepair(imagePath(disk), {
    permissions: {},
    disk: undefined,
    lock: false,
    repair,
    progress: () => undefined,
  });

/** The errors of a report, each by its kind and place. */
function errorsOf({ problems }: CheckReport): string[] {
  return problems.list
    .filter(({ severity }) => severity === 'error')
    .map(({ file, kind, offset }) => `${kind} at byte ${offset ?? -1} of ${file}`);
}

/** All that is wrong with what a cut left. */
function wrongWith(disk: TinyDisk, before: ReadonlySet<string>): string[] {
  const wrong = errorsOf(check(disk, false)).filter((error) => !before.has(error));
  wrong.push(...errorsOf(check(disk, true)).map((error) => `mended again: ${error}`));
  for (const [path, { problems, uncleanShutdown }] of inspectFiles()) {
    wrong.push(...problems);
    if (uncleanShutdown === 1) wrong.push(`${path} is marked as not closed`);
  }
  if (!readDisk(disk).equals(disk.content)) wrong.push('the disk holds something else');
  return wrong;
}

let total = 0;

describe('a repair that is cut off anywhere', () => {
  afterAll(() => {
    console.log(`${total} states of repairs that were cut off`);
  });

  test.each(CASES)('%s of %s: no worse, and mended the next time', (_what, name, damage) => {
    const found = disks.find((disk) => name.test(disk.name));
    if (found === undefined) throw new Error(`no disk is called ${name.source}`);
    const disk = damaged(found, damage);
    loadFiles(disk.files);
    const before = new Set(errorsOf(check(disk, false)));
    const events = recordChanges(() => {
      expect(check(disk, true).mended.length).toBeGreaterThan(0);
    });
    expect(events.some(({ kind }) => kind === 'length')).toBe(
      damage === damageEnd || damage === damageHosted,
    );
    const { states, wrong } = tryCuts(disk, events, PLAN, STATES, () => wrongWith(disk, before));
    total += states;
    expect(wrong).toEqual([]);
    // Each repair writes twice at least.
    expect(states).toBeGreaterThan(1);
  });
});
