/** Compacting: what is given back, what stays the same, and what is refused. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compactImage, type CompactReport } from '../../src/block/compact/compact-image.js';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { SUBFORMATS, type Subformat } from '../../src/vmdk/subformat.js';
import { checkImageFile, contentOf, writeDisk } from '../helpers/checked.js';
import { errorOf } from '../helpers/disk-reading.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { pattern } from '../helpers/made-disk.js';
import { blockOf, placesOf } from '../helpers/random-writes.js';
import { isMissing } from '../helpers/requirements.js';
import { check } from '../helpers/run.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GRAIN = 64 * KIB;

function compact(image: string): CompactReport {
  return compactImage(image, { permissions: {}, lock: true, progress: () => undefined });
}

/** Sound, and the same as before to everybody. */
function expectSame(image: string, content: Buffer): void {
  expect(contentOf(image).equals(content)).toBe(true);
  // The rest of a page between a small grain and a table cannot be given back.
  const problems = checkImageFile(image).problems.list;
  expect(problems.filter(({ file, severity }) => !(severity === 'leak' && isCowd(file)))).toEqual(
    [],
  );
}

function isCowd(file: string): boolean {
  return readFileSync(file).toString('latin1', 0, 4) === 'COWD';
}

/** Writes blocks all over, zeros over much of it, and all of it once more in pieces. */
function scribble(image: string, content: Buffer, seed: number): void {
  const { device } = openImage(image, { readOnly: false });
  const put = (bytes: Buffer, offset: number): void => {
    const length = Math.min(bytes.length, content.length - offset);
    device.write(bytes, 0, length, offset);
    bytes.copy(content, offset, 0, length);
  };
  placesOf(seed, 60, 4096, content.length).forEach((offset, index) => {
    put(blockOf(index + seed, 4096), offset);
  });
  placesOf(seed + 1, 6, 16 * KIB, content.length).forEach((offset, index) => {
    put(index % 2 === 0 ? Buffer.alloc(200 * KIB) : pattern(70 * KIB, index), offset);
  });
  device.flush();
  device.close();
}

describe('compacting keeps what a disk holds', () => {
  test.each(DISK_KINDS)('of $name', (kind) => {
    const { content, image, parents } = kind.make(tempFolder());
    const before = parents.map((file) => readFileSync(file));
    for (const seed of [3, 11]) {
      scribble(image, content, seed);
      const found = checkImageFile(image).problems.list.filter(
        ({ severity }) => severity !== 'leak',
      );
      expect(found).toEqual([]);
      const { files } = compact(image);
      for (const file of files) expect(file.after).toBeLessThanOrEqual(file.before);
      expectSame(image, content);
      // There is nothing left to do.
      const again = files.map(({ path }) => readFileSync(path));
      compact(image);
      files.forEach(({ path }, index) => {
        expect(readFileSync(path).equals(again[index]!)).toBe(true);
      });
    }
    parents.forEach((file, index) => {
      expect(readFileSync(file).equals(before[index]!)).toBe(true);
    });
    // It can be written again.
    scribble(image, content, 29);
    expectSame(image, content);
  });
});

/** A disk of 8 MiB, full of data, of which every second 64 KiB became zeros. */
function halfEmptied(subformat: Subformat): { image: string; content: Buffer } {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: 8 * MIB, backing: undefined, subformat });
  const content = pattern(8 * MIB, 5);
  writeDisk(image, content, 0);
  for (let at = 0; at < content.length; at += 2 * GRAIN) {
    content.fill(0, at, at + GRAIN);
    // As a guest does it, that knows of no discards.
    writeDisk(image, content.subarray(at, at + GRAIN), at);
  }
  return { image, content };
}

describe('compacting gives space back', () => {
  test.each(SUBFORMATS)('of a half empty %s', async (subformat) => {
    const { content, image } = halfEmptied(subformat);
    const cid = /^CID=.*$/m.exec(readFileSync(image, 'latin1'))?.[0];
    const [file] = compact(image).files;
    expect(file!.before).toBeGreaterThan(7 * MIB);
    expect(file!.after).toBeLessThan(4.5 * MIB);
    expect(statSync(file!.path).blocks * 512).toBe(file!.after);
    expectSame(image, content);
    expect(readFileSync(image, 'latin1')).toContain(cid);
    // Tables of COWD lie between grains, and stay.
    const sizes = { monolithicSparse: 4.5, twoGbMaxExtentSparse: 4.5, vmfsSparse: 6.2 };
    const most = new Map<string, number>(Object.entries(sizes)).get(subformat);
    if (most !== undefined) expect(statSync(file!.path).size).toBeLessThan(most * MIB);
    const isQemus = ['monolithicSparse', 'twoGbMaxExtentSparse'].includes(subformat);
    if (!isQemus || isMissing('a compacted image checked by QEMU', 'qemu')) return;
    const plain = `${image}.raw`;
    writeFileSync(plain, content);
    await check('qemu-img', 'check', image);
    expect(await check('qemu-img', 'compare', image, plain)).toContain('identical');
  });

  test('of a child, but for zeros that cover data; and its own children stay valid', () => {
    const folder = tempFolder();
    const [base, middle, top] = ['base', 'middle', 'top'].map((name) =>
      join(folder, `${name}.vmdk`),
    );
    const content = pattern(4 * MIB, 1);
    content.fill(0, MIB, 2 * MIB);
    createImage(base!, { size: 4 * MIB, backing: undefined });
    writeDisk(base!, content, 0);
    createImage(middle!, { size: undefined, backing: base });
    writeDisk(middle!, Buffer.alloc(256 * KIB), 0); // over data: stays
    writeDisk(middle!, pattern(512 * KIB, 2), MIB);
    writeDisk(middle!, Buffer.alloc(448 * KIB), MIB); // over a hole: goes
    content.fill(0, 0, 256 * KIB);
    pattern(512 * KIB, 2).copy(content, MIB);
    content.fill(0, MIB, MIB + 448 * KIB);
    createImage(top!, { size: undefined, backing: middle });
    const [file] = compact(middle!).files;
    expect(file!.before - file!.after).toBe(448 * KIB);
    expectSame(middle!, content);
    expectSame(top!, content);
  });

  test('that a crash left behind', () => {
    const { content, image } = halfEmptied('monolithicSparse');
    compact(image);
    const { size } = statSync(image);
    writeFileSync(image, Buffer.concat([readFileSync(image), Buffer.alloc(3 * MIB, 7)]));
    compact(image);
    expect(statSync(image).size).toBe(size);
    expectSame(image, content);
  });
});

describe('compacting is refused', () => {
  test('of a stream, with what to do', () => {
    const image = join(tempFolder(), 'stream.vmdk');
    makeStream(image, { family: 'footer', sectors: 300, grains: new Map([[0, pattern(5, 1)]]) });
    const error = errorOf(() => compact(image));
    expect(error.code).toBe('VMDK_READ_ONLY');
    expect(error.message).toMatch(/streamOptimized.*vmdkfs convert makes a new one/);
  });

  test('of what is damaged, unclean, or tracked, with nothing written', () => {
    const { image } = halfEmptied('monolithicSparse');
    const sound = readFileSync(image);
    const cases: readonly (readonly [at: number, value: number, said: RegExp])[] = [
      [72, 1, /was not closed cleanly; mend it first with vmdkfs check --repair/],
      [4, 3, /changes are tracked/],
      // The second entry of the first redundant table leads to the first grain.
      [sound.readUInt32LE(48) * 512, 0, /./],
    ];
    for (const [at, value, said] of cases) {
      const bytes = Buffer.from(sound);
      if (at < 100) bytes[at] = value;
      else {
        const table = bytes.readUInt32LE(at) * 512;
        bytes.writeUInt32LE(bytes.readUInt32LE(table + 8), table + 4);
      }
      writeFileSync(image, bytes);
      const error = errorOf(() => compact(image));
      expect(error.message).toMatch(said);
      expect(readFileSync(image).equals(bytes)).toBe(true);
    }
  });

  test('of an image in use', () => {
    const { image } = halfEmptied('monolithicSparse');
    const { device } = openImage(image, { readOnly: true, lock: true });
    try {
      expect(errorOf(() => compact(image)).code).toBe('VMDK_IN_USE');
    } finally {
      device.close();
    }
  });
});
