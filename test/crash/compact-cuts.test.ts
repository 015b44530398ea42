/**
 * Power cuts while an image is compacted: at every change what a barrier covers is there, and of the
 * rest each change may be there, or lost, or torn between sectors. Whatever is left holds the same,
 * is sound, and can be compacted again.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { checkAndRepair } from '../../src/block/check/check-and-repair.js';
import { compactImage } from '../../src/block/compact/compact-image.js';
import { openImage } from '../../src/block/open-image.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { pattern } from '../helpers/made-disk.js';
import { blockOf, placesOf } from '../helpers/random-writes.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { loadFiles, MEMORY_FOLDER, memoryFiles, recordHost } from './memory-host.js';
import { Random } from './recorded-disk.js';

/** The host in memory tells of no change of a file's length. */
const lengths = vi.hoisted(() => ({
  listener: undefined as ((length: number) => void) | undefined,
}));

vi.mock('node:fs', async (original) => {
  const { fsInMemory } = await import('./memory-host.js');
  const host = fsInMemory(await original()) as {
    ftruncateSync: (fd: number, length: number) => void;
  };
  const ftruncateSync = (fd: number, length: number): void => {
    lengths.listener?.(length);
    host.ftruncateSync(fd, length);
  };
  return { ...host, ftruncateSync };
});
vi.mock('../../src/os/file-io.js', async (original) => {
  const { fileIoInMemory } = await import('./memory-host.js');
  return fileIoInMemory(await original());
});

const SECTOR = 512;
const STATES = Number(process.env['VMDKFS_CRASH_STATES'] ?? 12_000) / 15;
const OPTIONS = { permissions: {}, disk: undefined, lock: false, progress: () => undefined };

/** One file in each image: whose length changes is clear then. */
const KINDS = DISK_KINDS.filter((kind) => kind.isLarge !== true).filter(
  ({ name }) => !/split|flat|twoGb|every type/i.test(name) || name.startsWith('sparse child'),
);

/** A change of the only file that is written. */
type Change = { readonly position: number; readonly bytes: Buffer } | { readonly length: number };

type Event = Change | 'barrier';

type Files = ReadonlyMap<string, Buffer>;

let states = 0;

/** Writes and zeroes much of a disk, as a guest does that knows of no discards. */
function scribble(image: string, content: Buffer): void {
  const { device } = openImage(image, { readOnly: false });
  const put = (bytes: Buffer, offset: number): void => {
    const length = Math.min(bytes.length, content.length - offset);
    device.write(bytes, 0, length, offset);
    bytes.copy(content, offset, 0, length);
  };
  placesOf(5, 30, 4096, content.length).forEach((offset, index) => {
    put(blockOf(index, 4096), offset);
  });
  placesOf(6, 8, 16 * 1024, content.length).forEach((offset, index) => {
    put(index % 2 === 0 ? Buffer.alloc(130 * 1024) : pattern(70 * 1024, index), offset);
  });
  device.close();
}

/** What compacting does to the file `written`, in its order. */
function record(image: string, written: string, files: Files): Event[] {
  const events: Event[] = [];
  loadFiles(files);
  recordHost((event) => {
    expect(basename(event.file.path)).toBe(written);
    if (event.kind === 'barrier') events.push('barrier');
    else
      events.push({ position: event.position, bytes: event.bytes ?? Buffer.alloc(event.length) });
  });
  lengths.listener = (length) => events.push({ length });
  try {
    compactImage(join(MEMORY_FOLDER, image), OPTIONS);
  } finally {
    recordHost(undefined);
    lengths.listener = undefined;
  }
  return events;
}

function apply(file: Buffer, change: Change, isThere: () => boolean): Buffer {
  if ('length' in change) {
    if (!isThere()) return file;
    return Buffer.concat([file, Buffer.alloc(Math.max(0, change.length - file.length))]).subarray(
      0,
      change.length,
    );
  }
  let grown = file;
  for (let at = 0; at < change.bytes.length;) {
    const position = change.position + at;
    const end = Math.min(at + SECTOR - (position % SECTOR), change.bytes.length);
    if (isThere()) {
      if (position + end - at > grown.length) {
        grown = Buffer.concat([grown, Buffer.alloc(position + end - at - grown.length)]);
      }
      change.bytes.copy(grown, position, at, end);
    }
    at = end;
  }
  return grown;
}

/** Calls `look` with states of the file that a cut may leave. */
function replay(file: Buffer, events: readonly Event[], look: (state: Buffer) => void): void {
  const random = new Random(3);
  const changes = events.filter((event) => event !== 'barrier').length;
  const samples = Math.max(1, Math.ceil(STATES / KINDS.length / Math.max(1, changes)));
  let durable: Buffer = Buffer.from(file);
  let pending: Change[] = [];
  for (const event of events) {
    if (event !== 'barrier') {
      pending.push(event);
      for (let sample = 0; sample < samples; sample++) {
        // Whole, lost or torn, each change by itself.
        const state = pending.reduce<Buffer>((before, change) => {
          const mood = random.below(3);
          return apply(before, change, () => mood === 0 || (mood === 1 && random.below(2) === 0));
        }, Buffer.from(durable));
        look(state);
      }
      continue;
    }
    durable = pending.reduce<Buffer>(
      (before, change) => apply(before, change, () => true),
      durable,
    );
    pending = [];
  }
  look(durable);
}

function contentOf(image: string): Buffer {
  const { device } = openImage(join(MEMORY_FOLDER, image), { readOnly: true });
  const bytes = Buffer.alloc(device.size);
  device.read(bytes, 0, bytes.length, 0);
  device.close();
  return bytes;
}

function errorsOf(image: string): string[] {
  const { problems } = checkAndRepair(join(MEMORY_FOLDER, image), { ...OPTIONS, repair: false });
  const errors = problems.list.filter(({ severity }) => severity === 'error');
  return errors.map(({ message }) => message);
}

/** Mends what a crash leaves, compacts again, and writes. */
function goOn(image: string, content: Buffer): void {
  const path = join(MEMORY_FOLDER, image);
  checkAndRepair(path, { ...OPTIONS, repair: true });
  compactImage(path, OPTIONS);
  expect(contentOf(image).equals(content)).toBe(true);
  const { device } = openImage(path, { readOnly: false });
  const block = pattern(5000, 8);
  const offset = content.length - 6000;
  device.write(block, 0, block.length, offset);
  device.close();
  const wanted = Buffer.from(content);
  block.copy(wanted, offset);
  expect(contentOf(image).equals(wanted)).toBe(true);
  expect(errorsOf(image)).toEqual([]);
}

describe('a power cut at any moment of compacting leaves a disk that is sound and the same', () => {
  afterAll(() => {
    console.log(`${states} crash states while compacting, none wrong`);
  });

  test.each(KINDS)('$name', (kind) => {
    const folder = tempFolder();
    const { content, image: made, sparseFiles } = kind.make(folder);
    scribble(made, content);
    expect(dirname(made)).toBe(folder);
    const image = basename(made);
    const written = basename(sparseFiles[0] ?? '');
    const files = new Map(
      readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))] as const),
    );
    const events = record(image, written, files);
    const compacted = memoryFiles().find(({ path }) => basename(path) === written);
    expect(compacted?.length).toBeLessThanOrEqual(files.get(written)?.length ?? 0);
    let count = 0;
    replay(files.get(written) ?? Buffer.alloc(0), events, (state) => {
      states += 1;
      count += 1;
      loadFiles(new Map([...files, [written, state]]));
      expect(contentOf(image).equals(content)).toBe(true);
      expect(errorsOf(image)).toEqual([]);
      if (count % 5 === 0) goOn(image, content);
    });
    expect(count).toBeGreaterThan(1);
  });
});
