/** Writes over and past the end with the writeback cache, where the kernel sends them later. */
import { statSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { newImage } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { mountImage } from '../helpers/mounted.js';
import { putDosTable } from '../helpers/partition-tables.js';
import { isMissing } from '../helpers/requirements.js';
import { run } from '../helpers/run.js';

const MIB = 1024 * 1024;
const PAGE = 4096;

/** Bytes of `disk.raw`, and of `p1.raw`: a page of the kernel reaches over the end of both. */
const DISK_BYTES = 8 * MIB + 512;
const PARTITION_START = MIB;
const PARTITION_BYTES = 2 * MIB + 512;

const FILES = [
  ['disk.raw', DISK_BYTES, 0],
  ['p1.raw', PARTITION_BYTES, PARTITION_START],
] as const;

/** A disk with a partition, mounted with the writeback cache. */
async function mountedDisk() {
  const image = await newImage(String(DISK_BYTES));
  const table = Buffer.alloc(512);
  const sectors = PARTITION_BYTES / 512;
  putDosTable(table, 0, [{ type: 0x83, start: PARTITION_START / 512, sectors }]);
  const { device } = openImage(image, { readOnly: false });
  device.write(table, 0, 512, 0);
  device.close();
  return { image, ...(await mountImage(image, '-o', 'writeback_cache')) };
}

/** The size by name, looked up until it is `wanted`: a RELEASE comes after the close has returned. */
async function sizeWhenClosed(path: string, wanted: number): Promise<number> {
  const end = performance.now() + 20_000;
  while (statSync(path).size !== wanted && performance.now() < end) await sleep(10);
  return statSync(path).size;
}

const isAbsent = isMissing('the end of a disk with the writeback cache', 'fuse');
describe.skipIf(isAbsent)('the end of a disk with the writeback cache', () => {
  test.each(FILES)('a write over the end of %s fails at fsync', async (name, size, start) => {
    const { image, mountpoint, unmount } = await mountedDisk();
    const file = join(mountpoint, name);
    const handle = await open(file, 'r+');
    onTestFinished(() => handle.close().catch(() => undefined));
    const at = size - 512;
    expect((await handle.write(pattern(PAGE, 1), 0, PAGE, at)).bytesWritten).toBe(PAGE);
    await expect(handle.sync()).rejects.toMatchObject({ code: 'ENOSPC' });
    await handle.close();
    expect(await sizeWhenClosed(file, size)).toBe(size);
    const shown = await readFile(file);
    expect(shown.length).toBe(size);
    expect(shown.subarray(at).equals(pattern(PAGE, 1).subarray(0, 512))).toBe(true);
    await unmount();
    // What fits is written, and nothing behind it.
    const { device } = openImage(image, { readOnly: true });
    const length = Math.min(1024, device.size - start - at);
    const bytes = Buffer.alloc(length);
    device.read(bytes, 0, length, start + at);
    device.close();
    expect(bytes.subarray(0, 512).equals(pattern(PAGE, 1).subarray(0, 512))).toBe(true);
    expect(bytes.subarray(512).equals(Buffer.alloc(length - 512))).toBe(true);
  });

  test.each(FILES)(
    'dd past the end of %s fails, and the size is right again',
    async (name, size) => {
      const { mountpoint } = await mountedDisk();
      const file = join(mountpoint, name);
      for (const [seek, convert] of [
        [size - 512, 'notrunc'],
        [size - 512, 'notrunc,fsync'],
        [size + PAGE, 'notrunc'],
        [size + PAGE, 'notrunc,fsync'],
      ] as const) {
        const args = ['if=/dev/urandom', `of=${file}`, 'bs=4096', 'count=1', 'oflag=seek_bytes'];
        const { code, stderr } = await run('dd', [...args, `seek=${seek}`, `conv=${convert}`]);
        expect(stderr, convert).toMatch(/No space left on device/);
        expect(code, convert).toBe(1);
        expect(await sizeWhenClosed(file, size), `${convert} at ${seek}`).toBe(size);
      }
    },
  );

  test('the size is right again when the last of several has closed', async () => {
    const { disk } = await mountedDisk();
    const [reader, writer] = [await open(disk, 'r'), await open(disk, 'r+')];
    onTestFinished(() => reader.close().catch(() => undefined));
    await writer.write(pattern(PAGE, 2), 0, PAGE, DISK_BYTES);
    await expect(writer.close()).rejects.toMatchObject({ code: 'ENOSPC' });
    expect((await reader.read(Buffer.alloc(512), 0, 512, 0)).bytesRead).toBe(512);
    await reader.close();
    expect(await sizeWhenClosed(disk, DISK_BYTES)).toBe(DISK_BYTES);
    const again = await open(disk, 'r+');
    onTestFinished(() => again.close().catch(() => undefined));
    expect((await again.write(pattern(PAGE, 3), 0, PAGE, 0)).bytesWritten).toBe(PAGE);
    await again.close();
  });
});
