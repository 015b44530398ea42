/**
 * The power fails while `vmdkfs compact` works: at every write, hole and change of length, with any
 * part of what no barrier covers. Whatever is left holds the same, is sound, and can be mended,
 * compacted again and written to.
 */
import { afterAll, describe, expect, test, vi } from 'vitest';
import type { BlockDevice } from '../../src/block/block-device.js';
import { checkAndRepair } from '../../src/block/check/check-and-repair.js';
import { compactImage } from '../../src/block/compact/compact-image.js';
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

const PLAN = { exhaustive: 32, samples: 12 };
const OPTIONS = { permissions: {}, disk: undefined, lock: false, progress: () => undefined };

/** States of one disk at most. */
const STATES = Math.ceil(Number(process.env['VMDKFS_CRASH_STATES'] ?? 12_000) / 10);

/** What was not closed is not compacted; the others have nothing to give back on a disk so small. */
const LEFT_OUT = /not closed|^child over a flat parent|^two flat extents/;

const disks = TINY_DISKS.map((make) => make()).filter(({ name }) => !LEFT_OUT.test(name));

/** Calls `change` for each stretch of the disk that `length` bytes at `at` of its zones are. */
function onDisk(
  disk: TinyDisk,
  at: number,
  length: number,
  change: (device: BlockDevice, from: number, count: number, offset: number) => void,
): void {
  const { device } = openImage(imagePath(disk), { readOnly: false });
  for (let done = 0; done < length;) {
    const offset = diskOffset(disk, at + done);
    let count = 1;
    while (done + count < length && diskOffset(disk, at + done + count) === offset + count) count++;
    change(device, done, count, offset);
    done += count;
  }
  device.close();
}

function write(disk: TinyDisk, bytes: Buffer, at: number): void {
  onDisk(disk, at, bytes.length, (device, from, count, offset) => {
    device.write(bytes, from, count, offset);
  });
}

function discard(disk: TinyDisk, at: number, length: number): void {
  onDisk(disk, at, length, (device, _from, count, offset) => {
    device.zero(offset, count);
  });
}

/** The disk with all of it written to, and zeros over much of that: what compacting is for. */
function filled(disk: TinyDisk): TinyDisk {
  loadFiles(disk.files);
  const size = disk.content.length - (disk.content.length % 512);
  write(disk, pattern(size, 3), 0);
  // Whole grains of every extent, also where an extent begins in the middle of one of the disk. What
  // is discarded leaves gaps, which grains from the end of the file move into.
  const step = Math.max(4096, disk.grainBytes);
  for (let at = 0; at + step <= size * 0.8; at += 3 * step) {
    write(disk, Buffer.alloc(step), at);
    discard(disk, at + step, Math.min(step, size - at - step));
  }
  const files = memoryFiles().map(
    ({ content, path }) => [path.split('/').at(-1) ?? path, Buffer.from(content)] as const,
  );
  return { ...disk, files: new Map(files), content: readDisk(disk) };
}

function errorsOf(disk: TinyDisk, repair: boolean): string[] {
  const { problems } = checkAndRepair(imagePath(disk), { ...OPTIONS, repair });
  const errors = problems.list.filter(({ severity }) => severity === 'error');
  return errors.map(({ file, message }) => `${file}: ${message}`);
}

/** All that is wrong with what a cut left. */
function wrongWith(disk: TinyDisk): string[] {
  const wrong = errorsOf(disk, false);
  for (const { problems } of inspectFiles().values()) wrong.push(...problems);
  if (!readDisk(disk).equals(disk.content)) wrong.push('the disk holds something else');
  return wrong;
}

/** What is wrong after it was mended, compacted again and written to. */
function wrongLater(disk: TinyDisk): string[] {
  const wrong = errorsOf(disk, true).map((error) => `mended: ${error}`);
  compactImage(imagePath(disk), OPTIONS);
  if (!readDisk(disk).equals(disk.content)) wrong.push('compacted again it holds something else');
  write(disk, pattern(512, 9), 512);
  const content = Buffer.from(disk.content);
  pattern(512, 9).copy(content, 512);
  return [...wrong, ...wrongWith({ ...disk, content })];
}

let total = 0;

describe('compacting that is cut off anywhere leaves a disk that is sound and the same', () => {
  afterAll(() => {
    console.log(`${total} states of compacting that was cut off, none wrong`);
  });

  test.each(disks)('$name', (fresh) => {
    const disk = filled(fresh);
    loadFiles(disk.files);
    const events = recordChanges(() => compactImage(imagePath(disk), OPTIONS));
    expect(events.length).toBeGreaterThan(0);
    const { states, wrong } = tryCuts(disk, events, PLAN, STATES, (state) => [
      ...wrongWith(disk),
      ...(state % 5 === 0 ? wrongLater(disk) : []),
    ]);
    total += states;
    expect(wrong).toEqual([]);
    expect(states).toBeGreaterThan(1);
  });
});
