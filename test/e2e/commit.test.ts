/** `vmdkfs commit` as it is called: exit codes, what it prints, and what QEMU says of what it did. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { libcIfAny } from '../../src/os/libc.js';
import { mergedCids, formatCid } from '../../src/vmdk/cid.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { writeDisk } from '../helpers/checked.js';
import { streamDisk } from '../helpers/delta-kinds.js';
import { readAll } from '../helpers/disk-reading.js';
import { chain, writeDescriptor } from '../helpers/images.js';
import { cidOf, holdsNothing } from '../helpers/made-child.js';
import { flatParent, pattern } from '../helpers/made-disk.js';
import { mountImage } from '../helpers/mounted.js';
import { writeOva } from '../helpers/ova-file.js';
import { littleEndian, poke } from '../helpers/poke.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, vmdkfs } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 64 * 1024;
const MIB = 1024 * 1024;
const SIZE = 16 * GRAIN;

// Without it nothing is discarded.
libcIfAny();

let folder: string;
let parent: string;
let child: string;
let content: Buffer;

/** A child of `parent` with two grains of data and one of zeros. */
function makeChild(subformat: Subformat = 'monolithicSparse', size?: number): void {
  createImage(child, { size, backing: parent, subformat });
  const { device } = openImage(child, { readOnly: false });
  device.write(pattern(2 * GRAIN, 2), 0, 2 * GRAIN, 2 * GRAIN);
  device.write(pattern(GRAIN, 3), 0, GRAIN, 8 * GRAIN);
  device.zero(8 * GRAIN, GRAIN);
  device.close();
  content = readAll(child);
}

beforeEach(() => {
  folder = tempFolder();
  parent = join(folder, 'base.vmdk');
  child = join(folder, 'top.vmdk');
});

/** A parent with data all over, and its child. */
function makePair(parentKind?: Subformat, childKind?: Subformat): void {
  const kind = parentKind === undefined ? {} : { subformat: parentKind };
  createImage(parent, { size: SIZE, backing: undefined, ...kind });
  writeDisk(parent, pattern(SIZE, 1), 0);
  makeChild(childKind);
}

function expectMerged(): void {
  expect(readAll(parent).subarray(0, content.length).equals(content)).toBe(true);
  expect(readAll(child).equals(content)).toBe(true);
  expect(holdsNothing(child)).toBe(true);
}

/** The words of a failure, which has changed nothing. */
async function failure(code: number, ...args: readonly string[]): Promise<string> {
  const before = [parent, child].map((path) => (existsSync(path) ? readFileSync(path) : undefined));
  const outcome = await vmdkfs('commit', ...args);
  expect(outcome).toMatchObject({ code, stdout: '' });
  [parent, child].forEach((path, index) => {
    const bytes = before[index];
    if (bytes !== undefined) expect(readFileSync(path).equals(bytes)).toBe(true);
  });
  return outcome.stderr;
}

const MERGED = '128 KiB (131072 bytes) of data and 64 KiB (65536 bytes) of zeros merged into';

describe('a child is merged', () => {
  test('and emptied, and the parent has its disk', async () => {
    makePair();
    expect(await vmdkfs('commit', child)).toEqual({
      code: 0,
      stdout: `${child}: ${MERGED} ${parent}; the child is empty now\n`,
      stderr: '',
    });
    expectMerged();
    for (const image of [parent, child]) expect((await vmdkfs('check', image)).code).toBe(0);
    expect(await vmdkfs('commit', child)).toEqual({
      code: 0,
      stdout: `${child}: nothing to merge into ${parent}; the child is empty now\n`,
      stderr: '',
    });
    expectMerged();
  });

  test('--json', async () => {
    makePair();
    const { code, stderr, stdout } = await vmdkfs('commit', child, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      image: child,
      parent,
      bytes: 3 * GRAIN,
      dataBytes: 2 * GRAIN,
      zeroBytes: GRAIN,
      deleted: false,
    });
    expectMerged();
  });

  test.skipIf(isMissing('merged images in QEMU', 'qemu')).each<[Subformat, Subformat]>([
    ['monolithicSparse', 'monolithicSparse'],
    ['twoGbMaxExtentSparse', 'twoGbMaxExtentSparse'],
    ['monolithicFlat', 'vmfsSparse'],
    ['twoGbMaxExtentFlat', 'monolithicSparse'],
    ['vmfsSparse', 'seSparse'],
    ['seSparse', 'monolithicSparse'],
  ])('from QEMU: a %s parent, a %s child', async (parentKind, childKind) => {
    makePair(parentKind, childKind);
    const raw = join(folder, 'raw');
    await check('qemu-img', 'convert', '-f', 'vmdk', '-O', 'raw', child, raw);
    expect((await vmdkfs('commit', child)).code).toBe(0);
    expectMerged();
    for (const image of [parent, child]) {
      await check('qemu-img', 'compare', '-f', 'vmdk', '-F', 'raw', image, raw);
      const { code, stderr } = await run('qemu-img', ['check', '-f', 'vmdk', image]);
      // 63: QEMU does not check this subformat.
      expect([0, 63], stderr).toContain(code);
    }
    if (childKind !== 'monolithicSparse') return;
    // It is a child like any other, for QEMU too.
    await check('qemu-io', '-f', 'vmdk', '-c', `write -q -P 7 0 ${GRAIN}`, child);
    content.fill(7, 0, GRAIN);
    expect((await vmdkfs('commit', child)).code).toBe(0);
    expectMerged();
  });

  test('and removed with --delete, its extents too', async () => {
    makePair('monolithicSparse', 'twoGbMaxExtentSparse');
    expect(await vmdkfs('commit', child, '--delete')).toEqual({
      code: 0,
      stdout: `${child}: ${MERGED} ${parent}; the child is removed\n`,
      stderr: '',
    });
    expect([child, join(folder, 'top-s001.vmdk')].some((path) => existsSync(path))).toBe(false);
    expect(readAll(parent).equals(content)).toBe(true);
  });

  test('and other children of the parent are refused from then on, its own are not', async () => {
    makePair();
    const [sibling, grandchild] = ['sibling', 'grandchild'].map((name) => join(folder, name));
    createImage(sibling!, { size: undefined, backing: parent });
    createImage(grandchild!, { size: undefined, backing: child });
    expect((await vmdkfs('commit', child)).code).toBe(0);
    const { code, stderr } = await vmdkfs('info', sibling!);
    expect(code).toBe(2);
    expect(stderr).toContain('the parent was modified after the child was made');
    expect(readAll(grandchild!).equals(content)).toBe(true);
  });

  test('smaller than its parent', async () => {
    createImage(parent, { size: SIZE + 5 * GRAIN, backing: undefined });
    const before = pattern(SIZE + 5 * GRAIN, 1);
    writeDisk(parent, before, 0);
    makeChild('monolithicSparse', SIZE);
    expect((await vmdkfs('commit', child)).code).toBe(0);
    expectMerged();
    expect(readAll(parent).subarray(SIZE).equals(before.subarray(SIZE))).toBe(true);
  });

  test('with a flat extent, which keeps what it holds', async () => {
    flatParent(folder, 'base', SIZE);
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 128, grainSectors: 8, tableEntries: 512 });
    writeFileSync(join(folder, 'f.vmdk'), pattern(GRAIN, 9));
    chain(child, ['RW 128 SPARSE "s.vmdk"', 'RW 128 FLAT "f.vmdk" 0'], parent);
    writeDisk(child, pattern(GRAIN, 5), 0);
    content = readAll(child);
    const { code, stderr } = await vmdkfs('commit', child);
    expect(code).toBe(0);
    expect(stderr).toBe(
      `vmdkfs: ${join(folder, 'f.vmdk')}: a flat extent cannot be emptied, so it keeps what it holds\n`,
    );
    expect(readAll(parent).subarray(0, content.length).equals(content)).toBe(true);
    expect(readAll(child).equals(content)).toBe(true);
    expect((await vmdkfs('commit', child, '--quiet')).stderr).toBe('');
  });
});

describe('what cannot be merged is refused, with nothing changed', () => {
  test('an image without a parent is 1', async () => {
    makePair();
    expect(await failure(1, parent)).toContain('has no parent');
    const { image } = streamDisk(folder, 'disk', 256);
    const ova = join(folder, 'disk.ova');
    writeOva(ova, [{ name: 'disk.vmdk', bytes: readFileSync(image) }]);
    expect(await failure(1, ova)).toContain('has no parent');
    expect(await failure(1)).toContain("missing required argument 'child'");
  });

  test('a file that is missing is 4, one that is no image 2', async () => {
    expect(await failure(4, join(folder, 'none.vmdk'))).toContain('no such file or directory');
    writeFileSync(join(folder, 'text'), 'no image\n');
    expect(await failure(2, join(folder, 'text'))).toContain('is not a VMDK');
  });

  test('a parent that is streamOptimized is 2', async () => {
    parent = streamDisk(folder, 'base', 2048).image;
    makeChild();
    const words = await failure(2, child);
    expect(words).toContain(`${parent}: it is streamOptimized`);
    expect(words).toContain('copy the whole disk of the child to a new image instead');
  });

  test('a parent that is smaller is 2', async () => {
    createImage(parent, { size: SIZE, backing: undefined });
    makeChild('monolithicSparse', SIZE + GRAIN);
    expect(await failure(2, child)).toContain(
      `is a disk of ${SIZE + GRAIN} bytes, and its parent ${parent} has only ${SIZE}`,
    );
  });

  test('read-only extents of the parent are 2 where the child holds something there', async () => {
    for (const name of ['a', 'b']) writeFileSync(join(folder, name), pattern(SIZE / 2, 4));
    const flat = (access: string, name: string) => `${access} ${SIZE / 1024} FLAT "${name}" 0`;
    writeDescriptor(parent, [flat('RDONLY', 'a'), flat('RDONLY', 'b')]);
    makeChild();
    expect(await failure(2, child)).toContain('its extent is RDONLY, so nothing can be merged');
    writeDescriptor(parent, [flat('RW', 'a'), flat('RDONLY', 'b')]);
    expect(await failure(2, child)).toContain(
      `its extent is RDONLY, and ${child} holds something there (disk offset ${8 * GRAIN})`,
    );
    writeDescriptor(parent, [`NOACCESS ${SIZE / 1024} FLAT "a" 0`, flat('RW', 'b')]);
    expect(await failure(2, child)).toContain('its extent is NOACCESS, and');
    writeDescriptor(parent, [`RW ${SIZE / 1024} ZERO`, flat('RW', 'b')]);
    expect(await failure(2, child)).toContain('its extent is ZERO and takes no data, and');
    // Zeros are no data.
    writeDescriptor(parent, [flat('RW', 'a'), `RW ${SIZE / 1024} ZERO`]);
    content = readAll(child);
    expect((await vmdkfs('commit', child)).code).toBe(0);
    expectMerged();
  });

  test('a child that cannot be emptied is 2', async () => {
    makePair();
    writeFileSync(join(folder, 'a'), pattern(SIZE, 4));
    chain(child, [`RDONLY ${SIZE / 512} FLAT "a" 0`], parent);
    expect(await failure(2, child)).toContain('its extent is RDONLY, so it cannot be emptied');
  });

  test('a parent whose changes are tracked is 2, unless that is dropped', async () => {
    flatParent(folder, 'base', SIZE);
    const text = readFileSync(parent, 'latin1');
    const tracked = text.replace('version=1\n', 'version=3\nchangeTrackPath="base-ctk.vmdk"\n');
    writeFileSync(parent, tracked);
    makeChild();
    expect(await failure(2, child)).toContain('are tracked for incremental backups');
    expect((await vmdkfs('commit', child, '--drop-change-tracking')).code).toBe(0);
    expectMerged();
    expect(readFileSync(parent, 'latin1')).not.toContain('changeTrackPath');
  });

  test('a child whose changes are tracked is 2', async () => {
    flatParent(folder, 'base', SIZE);
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 128, grainSectors: 8, tableEntries: 512 });
    chain(child, ['RW 128 SPARSE "s.vmdk"', 'changeTrackPath="top-ctk.vmdk"'], parent);
    expect(await failure(2, child)).toContain('are tracked for incremental backups');
    const words = await failure(2, child, '--drop-change-tracking');
    expect(words).toContain('end it with a write to its disk, mounted with --drop-change-tracking');
  });

  test('a parent that was modified is 2, unless that is forced', async () => {
    makePair();
    writeDisk(parent, pattern(GRAIN, 7), 0);
    expect(await failure(2, child)).toContain('the parent was modified after the child was made');
    const { code, stderr } = await vmdkfs('commit', child, '--force');
    expect(code).toBe(0);
    expect(stderr).toContain('going on all the same');
    pattern(GRAIN, 7).copy(content);
    expectMerged();
  });

  test.skipIf(isMissing('images in use', 'fuse'))('images in use are 6', async () => {
    makePair();
    const mounted = await mountImage(child);
    expect(await failure(6, child)).toContain(`${child}: is in use by another program`);
    await mounted.unmount();
    const reader = await mountImage(parent, '-r');
    expect(await failure(6, child)).toContain(`${parent}: is in use by another program`);
    expect((await vmdkfs('commit', child, '--no-lock')).code).toBe(0);
    expectMerged();
    await reader.unmount();
  });
});

describe('cut off', () => {
  test('between the two CIDs the child can be read, and is merged by the next', async () => {
    makePair();
    // The state after step 1: the parent has the CID that this merge gives it, the child the old one.
    const [cid] = mergedCids(Number.parseInt(cidOf(child), 16), 8);
    const at = readFileSync(parent).indexOf('CID=') + 4;
    poke(parent, at, Buffer.from(formatCid(cid)));
    expect(readAll(child).equals(content)).toBe(true);
    expect((await vmdkfs('check', child)).code).toBe(0);
    const info = await vmdkfs('info', child);
    expect(info.code).toBe(0);
    expect(info.stderr).toBe(
      `vmdkfs: ${child}: merging it into ${parent} was cut off; the disk is right, and vmdkfs commit goes on with it\n`,
    );
    const mountpoint = join(folder, 'mnt');
    mkdirSync(mountpoint);
    const { code, stderr } = await vmdkfs('mount', child, mountpoint);
    expect(code).toBe(2);
    expect(stderr).toContain('was cut off; run vmdkfs commit again, or mount with -o ro');
    expect((await vmdkfs('commit', child)).code).toBe(0);
    expectMerged();
    expect(cidOf(child, 'parentCID')).toBe(cidOf(parent));
  });

  test.skipIf(isMissing('a merge on a full disk', 'root', 'qemu'))(
    'by a full disk it is 4, both stay good, and the next goes on',
    async () => {
      const host = join(folder, 'host');
      mkdirSync(host);
      await check('mount', '-t', 'tmpfs', '-o', 'size=14M', 'none', host);
      onTestFinished(async () => {
        await run('umount', ['-l', host]);
      });
      [parent, child] = [join(host, 'base.vmdk'), join(host, 'top.vmdk')];
      createImage(parent, { size: 16 * MIB, backing: undefined });
      createImage(child, { size: undefined, backing: parent });
      writeDisk(child, pattern(5 * MIB, 1), MIB);
      content = readAll(child);
      const filler = join(host, 'filler');
      writeFileSync(filler, Buffer.alloc(6 * MIB));
      const full = await vmdkfs('commit', child);
      expect(full).toMatchObject({ code: 4, stdout: '' });
      expect(full.stderr).toContain('no space left on device');
      expect(full.stderr).toContain(`${child} still holds what is missing in its parent`);
      expect(readAll(child).equals(content)).toBe(true);
      for (const image of [parent, child]) await check('qemu-img', 'check', '-f', 'vmdk', image);
      rmSync(filler);
      expect((await vmdkfs('commit', child)).code).toBe(0);
      expectMerged();
    },
  );
});

test.skipIf(isMissing('progress of a merge', 'script', 'strace'))(
  'progress is told on a terminal past a second, and taken away',
  async () => {
    makePair();
    // The barriers before the first copy take more than a second.
    const slow = `strace -f -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_enter=800000`;
    const command = `timeout 50 ${slow} '${process.execPath}' '${CLI}' commit '${child}'`;
    const stdout = await check('script', '-qefc', command, '/dev/null');
    expect(stdout).toMatch(/\r\x1b\[Kmerging .*top\.vmdk: \d+ %\r\x1b\[K[^\r]*is empty now\r\n$/s);
    expectMerged();
  },
);

describe('a COWD child whose header has a longer directory than its disk needs', () => {
  const GD_OFFSET = 4 * 512;
  const DIRECTORY_BYTES = 3 * 512;

  test('is emptied behind all of it', async () => {
    createImage(parent, { size: SIZE, backing: undefined });
    createImage(child, { size: SIZE, backing: parent, subformat: 'vmfsSparse' });
    const extent = join(folder, 'top-delta.vmdk');
    const file = Buffer.alloc(GD_OFFSET + DIRECTORY_BYTES);
    readFileSync(extent).copy(file, 0, 0, GD_OFFSET);
    // numGDEntries and freeSector.
    littleEndian(DIRECTORY_BYTES / 4, 4).copy(file, 24);
    littleEndian(file.length / 512, 4).copy(file, 28);
    writeFileSync(extent, file);
    writeDisk(child, pattern(GRAIN, 3), GRAIN);
    content = readAll(child);
    expect(await vmdkfs('commit', child)).toMatchObject({ code: 0 });
    expectMerged();
    const emptied = readFileSync(extent);
    expect(emptied.length).toBe(file.length);
    expect(emptied.readUInt32LE(28)).toBe(file.length / 512);
    expect(emptied.subarray(GD_OFFSET).equals(Buffer.alloc(DIRECTORY_BYTES))).toBe(true);
    expect(await vmdkfs('check', child)).toMatchObject({ code: 0 });
    // It takes data again.
    writeDisk(child, pattern(GRAIN, 4), 3 * GRAIN);
    expect(
      readAll(child)
        .subarray(3 * GRAIN, 4 * GRAIN)
        .equals(pattern(GRAIN, 4)),
    ).toBe(true);
    expect(await vmdkfs('check', child)).toMatchObject({ code: 0 });
  });
});
