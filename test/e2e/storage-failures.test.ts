/**
 * Storage that fails: every host write in turn, every fdatasync, too short, too slow to end. What
 * the writer was told is synced stays, the rest is reported, and the image stays sound.
 */
import { readFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { constants } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { CRASH_DISKS, type CrashDisk } from '../crash/crash-disks.js';
import { pattern } from '../helpers/made-disk.js';
import { FaultyStorage, type Faults } from '../helpers/faulty-storage.js';
import { mountImage, type Mounted } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { within } from '../helpers/until.js';

const { EDQUOT, EIO, ENOSPC } = constants.errno;
const KIB = 1024;
/** Time for one call, on a machine that is busy. */
const CALL_MS = 120_000;
const DONE = { write: 0, sync: 0 };

/** A mounted image whose storage fails on command, and what the disk has to hold. */
interface Setup {
  readonly storage: FaultyStorage;
  readonly made: CrashDisk;
  readonly content: Buffer;
  readonly mounted: Mounted;
  readonly handle: FileHandle;
}

async function setup(kind: string): Promise<Setup> {
  const found = CRASH_DISKS.find(({ name }) => name.startsWith(kind));
  if (found === undefined) throw new Error(`no kind of disk is called ${kind}`);
  const storage = new FaultyStorage();
  const made = found.make(storage.store);
  await storage.serve();
  const mounted = await mountImage(join(storage.folder, basename(made.image)));
  const handle = await open(mounted.disk, 'r+');
  return { storage, made, mounted, handle, content: Buffer.from(made.content) };
}

/** 0 or the errno: Node has no name for EDQUOT. */
async function outcome(action: Promise<unknown>): Promise<number> {
  try {
    await within('a call on the disk returns', CALL_MS, action);
    return 0;
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    return -errno;
  }
}

/** Writes all of it: the kernel may have taken a part before the error. */
async function writeAll(handle: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}

/** Writes and syncs; how each of them ended. */
async function writeAndSync(handle: FileHandle, bytes: Buffer, at: number) {
  const write = await outcome(writeAll(handle, bytes, at));
  const sync = await outcome(handle.datasync());
  return { write, sync };
}

/** What the image holds, read past the storage. */
function contentOf(image: string): Buffer {
  const { device } = openImage(image, { readOnly: true });
  const bytes = Buffer.alloc(device.size);
  device.read(bytes, 0, bytes.length, 0);
  device.close();
  return bytes;
}

async function expectSound({ content, made }: Setup): Promise<void> {
  expect(await made.problems()).toEqual([]);
  const found = contentOf(made.image);
  const at = found.findIndex((byte, index) => byte !== content[index]);
  expect(at, `byte ${at} is ${found[at] ?? -1}, expected ${content[at] ?? -1}`).toBe(-1);
}

const KINDS = ['monolithicSparse', 'split child', 'vmfsSparse', 'seSparse', 'monolithicFlat'];

describe.skipIf(isMissing('failing storage', 'fuse', 'qemu'))('a host write that fails', () => {
  test.each(KINDS)('%s: each in turn, with EIO and EDQUOT', async (kind) => {
    const it = await setup(kind);
    const { content, handle, made, mounted, storage } = it;
    const bytes = pattern(5000, 3);
    for (let after = 0, isReached = true; isReached; after++) {
      const errno = after % 2 === 0 ? EDQUOT : EIO;
      const at = (after * 131 + 40) * KIB;
      storage.set({ write: { errno, after } });
      const { sync, write } = await writeAndSync(handle, bytes, at);
      const failed = [write, sync].filter((code) => code !== 0);
      isReached = failed.length > 0;
      for (const code of failed) expect(code).toBe(errno);
      if (write !== 0) {
        // What was refused may be there in part, and is no promise; it is written again.
        storage.set({});
        expect(await outcome(writeAll(handle, bytes, at))).toBe(0);
      }
      storage.set({});
      // Good again: what was not synced is synced now.
      expect(await outcome(handle.datasync())).toBe(0);
      bytes.copy(content, at);
      expect(await made.problems(), `after ${after} writes`).toEqual([]);
      expect(after).toBeLessThan(16);
    }
    await handle.close();
    await mounted.unmount();
    await expectSound(it);
  });

  test('seSparse: a hundred times leaves room for all of the disk', async () => {
    const it = await setup('seSparse');
    const { content, handle, mounted, storage } = it;
    expect(await writeAndSync(handle, pattern(10, 1), 0)).toEqual(DONE);
    storage.set({ write: { errno: ENOSPC } });
    for (let count = 0; count < 100; count++) {
      const { write } = await writeAndSync(handle, pattern(64 * KIB, count), count * 4096);
      expect(write).toBe(ENOSPC);
    }
    storage.set({});
    pattern(content.length, 8).copy(content);
    expect(await writeAndSync(handle, content, 0)).toEqual(DONE);
    await handle.close();
    await mounted.unmount();
    await expectSound(it);
  });

  test.each(KINDS)('%s: short writes are completed', async (kind) => {
    const it = await setup(kind);
    const { content, handle, mounted, storage } = it;
    storage.set({ write: { short: 700 } });
    for (let index = 0; index < 6; index++) {
      const bytes = pattern(9000 + index, index);
      const at = index * 200_000 + 333;
      expect(await writeAndSync(handle, bytes, at)).toEqual(DONE);
      bytes.copy(content, at);
    }
    await handle.close();
    await mounted.unmount();
    await expectSound(it);
  });
});

describe.skipIf(isMissing('fdatasync', 'fuse', 'qemu'))('an fdatasync that fails', () => {
  /** The tables that lead to grains, as the files have them now. */
  const filesOf = (storage: FaultyStorage, made: CrashDisk): Buffer =>
    readFileSync(join(storage.store, basename(made.image)));

  test.each(KINDS)('%s: EIO until the image is mounted again', async (kind) => {
    for (let after = 0; ; after++) {
      const it = await setup(kind);
      const { content, handle, mounted, storage } = it;
      const kept = pattern(70_000, 5);
      expect(await writeAndSync(handle, kept, 90_001)).toEqual(DONE);
      kept.copy(content, 90_001);
      const faults: Faults = { fsync: { errno: EIO, after, loses: true } };
      storage.set(faults);
      const lost = pattern(9000, 6);
      const { sync, write } = await writeAndSync(handle, lost, 700_001);
      expect(write).toBe(0);
      storage.set({});
      if (sync === 0) {
        lost.copy(content, 700_001);
        await handle.close();
        await mounted.unmount();
        await expectSound(it);
        break;
      }
      expect(sync).toBe(EIO);
      // The storage is good again, but nobody knows what it has.
      const before = filesOf(storage, it.made);
      expect(await writeAndSync(handle, lost, 710_001)).toEqual({ write: EIO, sync: EIO });
      expect(await outcome(handle.datasync())).toBe(EIO);
      await outcome(handle.close());
      await expect(mounted.unmount()).rejects.toThrow(/an earlier flush failed/);
      expect(filesOf(storage, it.made).equals(before)).toBe(true);
      expect(await it.made.problems()).toEqual([]);
      // What was not synced is there or not; everything else is as it was.
      const found = contentOf(it.made.image);
      lost.copy(content, 700_001);
      lost.copy(found, 700_001);
      expect(found.equals(content)).toBe(true);
      const again = await mountImage(it.made.image);
      const second = await open(again.disk, 'r+');
      expect(await writeAndSync(second, lost, 700_001)).toEqual(DONE);
      await second.close();
      await again.unmount();
      await expectSound(it);
      expect(after).toBeLessThan(8);
    }
  });
});
