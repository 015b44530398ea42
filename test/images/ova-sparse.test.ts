/** Sparse members of an OVA, as `tar -S` writes them. */
import { execFileSync } from 'node:child_process';
import {
  ftruncateSync,
  openSync,
  closeSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { listDisks, openImage } from '../../src/block/open-image.js';
import { errorOf, readDisk } from '../helpers/disk-reading.js';
import { writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { type OvaMember, type SparseMember, writeOva } from '../helpers/ova-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const KINDS: readonly SparseMember['kind'][] = ['gnu', 'pax-0.0', 'pax-0.1', 'pax-1.0'];

let folder: string;
let archive: string;
let descriptor: OvaMember;

beforeEach(() => {
  folder = tempFolder();
  archive = join(folder, 'appliance.ova');
  writeDescriptor(join(folder, 'd'), ['RW 2048 FLAT "data" 0']);
  descriptor = { name: 'disk.vmdk', bytes: readFileSync(join(folder, 'd')) };
});

function contentIn(disk?: string): Buffer {
  const { device } = openImage(archive, { readOnly: true, disk });
  try {
    return readDisk(device, 0, device.size);
  } finally {
    device.close();
  }
}

/** A disk of a MiB with `count` stretches of data. */
function sparseDisk(count: number): { content: Buffer; regions: [number, number][] } {
  const content = Buffer.alloc(MIB);
  const step = Math.floor(MIB / Math.max(1, count) / 512) * 512;
  const regions = Array.from({ length: count }, (_, index): [number, number] => {
    const length = Math.min(step, 512 * (1 + (index % 3)));
    pattern(length, index).copy(content, index * step);
    return [index * step, length];
  });
  // As GNU tar ends the map of a file that ends with a hole.
  return { content, regions: [...regions, [MIB, 0]] };
}

describe.each(KINDS)('a sparse member, %s', (kind) => {
  test.each([0, 1, 3, 4, 24, 25, 26, 700])('with %i stretches of data', (count) => {
    for (const base256Sizes of [false, true]) {
      const { content, regions } = sparseDisk(count);
      const data = { name: 'data', bytes: content, sparse: { kind, regions } };
      writeOva(archive, [descriptor, data, { name: 'b.vmdk', bytes: descriptor.bytes }], {
        base256Sizes,
      });
      expect(listDisks(archive)).toEqual(['disk.vmdk', 'b.vmdk']);
      expect(contentIn('1').equals(content)).toBe(true);
      expect(contentIn('b.vmdk').equals(content)).toBe(true);
    }
  });

  test('that is a disk, whose header is in one stretch and its grains in others', () => {
    const file = join(folder, 'disk');
    createImage(file, { size: 8 * MIB, backing: undefined });
    const made = openImage(file, { readOnly: false }).device;
    made.write(pattern(300 * KIB, 4), 0, 300 * KIB, MIB + 5);
    made.write(Buffer.alloc(64 * KIB), 0, 64 * KIB, MIB + 128 * KIB);
    made.close();
    const bytes = readFileSync(file);
    const regions: [number, number][] = [];
    for (let at = 0; at < bytes.length; at += 4096) {
      const part = bytes.subarray(at, at + 4096);
      if (part.some((byte) => byte !== 0)) regions.push([at, part.length]);
    }
    writeOva(archive, [{ name: 'disk', bytes, sparse: { kind, regions } }]);
    const expected = Buffer.alloc(8 * MIB);
    pattern(300 * KIB, 4).copy(expected, MIB + 5);
    expected.fill(0, MIB + 128 * KIB, MIB + 192 * KIB);
    expect(listDisks(archive)).toEqual(['disk']);
    expect(contentIn().equals(expected)).toBe(true);
  });

  test('ends with a hole, and its holes are holes', () => {
    const { content, regions } = sparseDisk(2);
    writeOva(archive, [descriptor, { name: 'data', bytes: content, sparse: { kind, regions } }]);
    const { device } = openImage(archive, { readOnly: true });
    expect(device.nextData(0, MIB)).toBe(0);
    expect(device.nextHole(0, MIB)).toBeLessThanOrEqual(4096);
    expect(device.nextData(MIB / 2 + 4096, MIB)).toBe(MIB);
    expect(device.allocatedBytes()).toBeLessThan(8192);
    device.close();
  });

  test.each<[string, [number, number][]]>([
    [
      'stretches that overlap',
      [
        [0, 1024],
        [512, 512],
      ],
    ],
    [
      'stretches out of order',
      [
        [4096, 512],
        [0, 512],
      ],
    ],
    ['a stretch behind the end', [[MIB, 512]]],
  ])('with %s is refused', (_name, regions) => {
    const content = Buffer.alloc(MIB, 1);
    writeOva(archive, [
      descriptor,
      { name: 'data', bytes: content, sparse: { kind, regions: [[0, 1], ...regions] } },
    ]);
    expect(errorOf(() => contentIn()).code).toBe('VMDK_BAD_ARCHIVE');
    expect(errorOf(() => listDisks(archive)).message).toMatch(/sparse member "data" is damaged/);
  });

  test('in the pieces of a disk', () => {
    const { content, regions } = sparseDisk(9);
    const half = MIB / 2;
    const first = { kind, regions: regions.filter(([at, length]) => at + length <= half) };
    writeOva(archive, [
      descriptor,
      { name: 'data.000000000', bytes: content.subarray(0, half), sparse: first },
      { name: 'data.000000001', bytes: content.subarray(half) },
    ]);
    const expected = Buffer.from(content);
    const [at, length] = regions[4]!;
    if (at + length > half) expected.fill(0, at, half);
    expect(contentIn().equals(expected)).toBe(true);
  });
});

describe('hostile maps', () => {
  test.each([
    ['a count without end', '9'.repeat(15)],
    ['no number', 'many\n'],
    ['a number of letters', '1\nabc\n5\n'],
    ['nothing', ''],
  ])('in front of the data with %s', (_name, text) => {
    const { content } = sparseDisk(1);
    const data = {
      name: 'data',
      bytes: content,
      sparse: { kind: 'pax-1.0' as const, regions: [] },
    };
    writeOva(archive, [descriptor, data]);
    const bytes = readFileSync(archive);
    const at = bytes.lastIndexOf('0\n\0\0\0');
    bytes.fill(0, at, at + 512).write(text.slice(0, 512), at, 'latin1');
    if (text === '') bytes.fill('7', at, at + 512);
    writeFileSync(archive, bytes);
    expect(errorOf(() => listDisks(archive)).code).toBe('VMDK_BAD_ARCHIVE');
  });

  test('of records that are cut off, or have lengths of their own, end with an error at most', () => {
    const { content, regions } = sparseDisk(3);
    const data = { name: 'data', bytes: content, sparse: { kind: 'pax-0.1' as const, regions } };
    writeOva(archive, [descriptor, data]);
    const whole = readFileSync(archive);
    const at = whole.indexOf('GNU.sparse.map') - 3;
    for (const text of ['0 ', '-5', '99', '1 ', '  ']) {
      const bytes = Buffer.from(whole);
      bytes.write(text, at, 'latin1');
      writeFileSync(archive, bytes);
      expect(['VMDK_BAD_ARCHIVE', 'VMDK_MISSING_FILE', 'VMDK_TRUNCATED']).toContain(
        errorOf(() => contentIn()).code,
      );
    }
  });
});

test('what tar itself makes', () => {
  const disk = join(folder, 'data');
  const fd = openSync(disk, 'w');
  for (let index = 0; index < 40; index++)
    writeSync(fd, pattern(4096, index), 0, 4096, index * 16384);
  ftruncateSync(fd, MIB);
  closeSync(fd);
  writeFileSync(join(folder, 'disk.vmdk'), descriptor.bytes);
  for (const format of [
    ['gnu'],
    ['pax'],
    ['pax', '--sparse-version=0.0'],
    ['pax', '--sparse-version=0.1'],
  ]) {
    const [name = '', ...more] = format;
    const args = [
      `--format=${name}`,
      ...more,
      '-S',
      '-C',
      folder,
      '-cf',
      archive,
      'disk.vmdk',
      'data',
    ];
    execFileSync('tar', args);
    expect(contentIn().equals(readFileSync(disk)), format.join(' ')).toBe(true);
  }
});
