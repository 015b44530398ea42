/** Disks inside OVA archives. */
import { readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { listDisks, openImage } from '../../src/block/open-image.js';
import { errnoOf, errorOf, readDisk } from '../helpers/disk-reading.js';
import { writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { type OvaMember, type OvaOptions, writeOva } from '../helpers/ova-file.js';
import { peek, poke } from '../helpers/poke.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

let folder: string;
let archive: string;

beforeEach(() => {
  folder = tempFolder();
  archive = join(folder, 'appliance.ova');
});

const OVF: OvaMember = { name: 'appliance.ovf', bytes: Buffer.from('<Envelope/>'.repeat(100)) };

/** A stream as a member of an archive, with grains that tell `number`. */
function streamMember(name: string, number: number): { member: OvaMember; content: Buffer } {
  const file = join(folder, 'stream.tmp');
  const grains = new Map([[number, pattern(65536, number)]]);
  const { content } = makeStream(file, { family: 'footer', sectors: 2000, grains });
  const bytes = readFileSync(file);
  rmSync(file);
  return { member: { name, bytes }, content };
}

/** All that a disk of the archive holds. */
function contentIn(disk?: string): Buffer {
  const { device } = openImage(archive, { readOnly: true, disk });
  try {
    return readDisk(device, 0, device.size);
  } finally {
    device.close();
  }
}

const NAMES: readonly (readonly [string, OvaOptions])[] = [
  ['plain headers', {}],
  ['GNU names', { names: 'gnu' }],
  ['pax names and sizes', { names: 'pax' }],
  ['base-256 sizes', { base256Sizes: true }],
  ['GNU names, base-256 sizes', { names: 'gnu', base256Sizes: true }],
];

describe.each(NAMES)('an archive with %s', (_title, options) => {
  test('of one disk shows it', () => {
    const { content, member } = streamMember('appliance-disk1.vmdk', 3);
    writeOva(archive, [OVF, member, { name: 'appliance.mf', bytes: Buffer.alloc(77) }], options);
    expect(contentIn().equals(content)).toBe(true);
    expect(listDisks(archive)).toEqual(['appliance-disk1.vmdk']);
  });

  test('of several disks shows the one that is chosen by number or name', () => {
    const one = streamMember('a.vmdk', 1);
    const two = streamMember('folder/b.VMDK', 2);
    writeOva(archive, [one.member, OVF, two.member], options);
    expect(listDisks(archive)).toEqual(['a.vmdk', 'folder/b.VMDK']);
    for (const disk of ['1', 'a.vmdk']) expect(contentIn(disk).equals(one.content)).toBe(true);
    for (const disk of ['2', 'folder/b.VMDK']) {
      expect(contentIn(disk).equals(two.content)).toBe(true);
    }
    const none = errorOf(() => contentIn());
    expect(none.code).toBe('VMDK_WHICH_DISK');
    expect(none.message).toMatch(
      /appliance\.ova: has 2 disks: 1 a\.vmdk, 2 folder\/b\.VMDK; .*--disk/,
    );
    for (const disk of ['0', '3', '-1', '1.0', '', 'b.vmdk', 'appliance.ovf', '9'.repeat(400)]) {
      expect(errorOf(() => contentIn(disk)).code, disk).toBe('VMDK_WHICH_DISK');
    }
  });

  test.each([
    'with blanks and "quotes".vmdk',
    'дискета-磁盘-💾.vmdk',
    '\u001b[2J.vmdk',
    '-disk.vmdk',
    '7.vmdk',
  ])('finds a disk called %s', (name) => {
    const { content, member } = streamMember(name, 4);
    writeOva(archive, [OVF, member], options);
    expect(listDisks(archive)).toEqual([name]);
    expect(contentIn().equals(content)).toBe(true);
    expect(contentIn(name).equals(content)).toBe(true);
  });
});

describe('names', () => {
  test('of any length are read in full where the archive has them', () => {
    const name = `${'long/'.repeat(60)}${'x'.repeat(200)}.vmdk`;
    const { content, member } = streamMember(name, 4);
    for (const names of ['gnu', 'pax'] as const) {
      writeOva(archive, [OVF, member], { names });
      expect(contentIn(name).equals(content)).toBe(true);
    }
  });

  test('a number that is a name means the name', () => {
    const one = streamMember('2', 1);
    const two = streamMember('2.vmdk', 2);
    writeOva(archive, [one.member, two.member]);
    expect(contentIn('1').equals(two.content)).toBe(true);
  });

  test('of two members with one name the number tells which', () => {
    const one = streamMember('a.vmdk', 1);
    const two = streamMember('a.vmdk', 2);
    writeOva(archive, [one.member, two.member]);
    expect(contentIn('1').equals(one.content)).toBe(true);
    expect(contentIn('2').equals(two.content)).toBe(true);
  });
});

describe('what a member can be', () => {
  test('a descriptor and its flat extent', () => {
    const content = pattern(MIB, 1);
    writeDescriptor(join(folder, 'd'), ['RW 2048 FLAT "disk-flat.vmdk" 0']);
    writeOva(archive, [
      { name: 'disk.vmdk', bytes: readFileSync(join(folder, 'd')) },
      { name: 'disk-flat.vmdk', bytes: content },
    ]);
    expect(contentIn('disk.vmdk').equals(content)).toBe(true);
  });

  test.each(['./', 'vm/', './vm/'])('a descriptor and its extent, both in %s', (prefix) => {
    const content = pattern(MIB, 1);
    writeDescriptor(join(folder, 'd'), ['RW 2048 FLAT "disk.raw" 0']);
    writeOva(archive, [
      { name: `${prefix}disk.vmdk`, bytes: readFileSync(join(folder, 'd')) },
      { name: `${prefix}disk.raw`, bytes: content },
    ]);
    expect(contentIn().equals(content)).toBe(true);
  });

  test('a file beside the archive is not in it', () => {
    writeFileSync(join(folder, 'disk-flat.vmdk'), Buffer.alloc(MIB));
    writeDescriptor(join(folder, 'd'), ['RW 2048 FLAT "disk-flat.vmdk" 0']);
    writeOva(archive, [{ name: 'disk.vmdk', bytes: readFileSync(join(folder, 'd')) }]);
    expect(errorOf(() => contentIn()).code).toBe('VMDK_MISSING_FILE');
  });

  test('a child and its parent', () => {
    const base = streamMember('base.vmdk', 1);
    writeFileSync(join(folder, 'base.vmdk'), base.member.bytes);
    createImage(join(folder, 'child.vmdk'), {
      size: undefined,
      backing: join(folder, 'base.vmdk'),
    });
    const child = readFileSync(join(folder, 'child.vmdk'));
    rmSync(join(folder, 'base.vmdk'));
    writeOva(archive, [{ name: 'child.vmdk', bytes: child }, base.member]);
    expect(contentIn('1').equals(base.content)).toBe(true);
  });

  test('a monolithicSparse disk, which is read-only inside', () => {
    const file = join(folder, 'disk.vmdk');
    createImage(file, { size: 3 * MIB, backing: undefined });
    const made = openImage(file, { readOnly: false }).device;
    made.write(pattern(MIB, 4), 0, MIB, 12345);
    made.close();
    writeOva(archive, [OVF, { name: 'disk.vmdk', bytes: readFileSync(file) }]);
    const before = readFileSync(archive);
    const { device, notices } = openImage(archive, { readOnly: false });
    expect(device.readOnly).toBe(true);
    expect(notices.join()).toMatch(/appliance\.ova:disk\.vmdk: .*inside an archive.*read-only/);
    expect(readDisk(device, 12345, MIB).equals(pattern(MIB, 4))).toBe(true);
    expect(
      errnoOf(() => {
        device.write(Buffer.alloc(1), 0, 1, 0);
      }),
    ).toBe(-30);
    device.close();
    expect(readFileSync(archive).equals(before)).toBe(true);
  });

  test('its disk is as long as the member, whatever follows', () => {
    writeDescriptor(join(folder, 'd'), ['RW 2048 FLAT "flat.raw" 0']);
    writeOva(archive, [
      { name: 'disk.vmdk', bytes: readFileSync(join(folder, 'd')) },
      { name: 'flat.raw', bytes: Buffer.alloc(MIB - 512, 1) },
      { name: 'secret', bytes: Buffer.alloc(MIB, 2) },
    ]);
    expect(errorOf(() => contentIn()).code).toBe('VMDK_TRUNCATED');
  });

  test('a file open for each use is closed again', () => {
    const { member } = streamMember('a.vmdk', 1);
    writeOva(archive, [member]);
    const before = readdirSync('/proc/self/fd').length;
    contentIn();
    expect(() => contentIn('9')).toThrow();
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });
});

describe('archives that are refused', () => {
  test('one without a disk', () => {
    writeOva(archive, [OVF]);
    expect(errorOf(() => contentIn())).toMatchObject({ code: 'VMDK_NO_DISK' });
    expect(errorOf(() => contentIn('1'))).toMatchObject({ code: 'VMDK_NO_DISK' });
  });

  test('no archive at all, with a disk chosen', () => {
    const image = join(folder, 'disk.vmdk');
    createImage(image, { size: MIB, backing: undefined });
    expect(errorOf(() => openImage(image, { readOnly: true, disk: '1' })).code).toBe(
      'VMDK_WHICH_DISK',
    );
    expect(listDisks(image)).toBeUndefined();
  });

  test.each([3000, 60_000])('one that ends %i bytes after its disk begins', (length) => {
    const file = join(folder, 'disk.vmdk');
    createImage(file, { size: MIB, backing: undefined });
    const places = writeOva(archive, [OVF, { name: 'd.vmdk', bytes: readFileSync(file) }]);
    truncateSync(archive, (places.get('d.vmdk') ?? 0) + length);
    const error = errorOf(() => contentIn());
    expect(error.code).toBe('VMDK_TRUNCATED');
    expect(error.message).toMatch(
      /appliance\.ova: its member "d\.vmdk" ends at byte \d+, but the file has only/,
    );
  });

  const header = (): number => {
    const { member } = streamMember('a.vmdk', 1);
    return (writeOva(archive, [OVF, member]).get('a.vmdk') ?? 0) - 512;
  };

  /** Changes a header, and its checksum with it. */
  const change = (at: number, offset: number, bytes: Uint8Array): void => {
    poke(archive, at + offset, bytes);
    poke(archive, at + 148, Buffer.alloc(8, ' '));
    const sum = peek(archive, at, 512).reduce((total, byte) => total + byte, 0);
    poke(archive, at + 148, Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `));
  };

  test('one with a damaged header', () => {
    const at = header();
    poke(archive, at + 20, Buffer.from('x'));
    const error = errorOf(() => contentIn());
    expect(error.code).toBe('VMDK_BAD_ARCHIVE');
    expect(error.message).toMatch(/appliance\.ova: the header of member 2 at byte \d+ is damaged/);
  });

  test.each<[string, Uint8Array]>([
    ['beyond numbers', Buffer.from([0x80, ...Buffer.alloc(11, 0xff)])],
    ['of no known kind', Buffer.from([0xc0, ...Buffer.alloc(11, 0xff)])],
    ['below zero', Buffer.from([0xff, ...Buffer.alloc(11, 0xfe)])],
    ['of 8 PiB', Buffer.from([0x80, 0, 0, 0, 0, 0x1f, ...Buffer.alloc(6, 0xff)])],
    ['in words', Buffer.from('hello world\0')],
  ])('one with a member whose size is %s', (_name, size) => {
    change(header(), 124, size);
    expect(['VMDK_BAD_ARCHIVE', 'VMDK_TRUNCATED', 'VMDK_NO_DISK']).toContain(
      errorOf(() => contentIn()).code,
    );
  });

  test('one whose first header has a size beyond numbers', () => {
    header();
    change(0, 124, Buffer.from([0x80, ...Buffer.alloc(11, 0xff)]));
    expect(errorOf(() => contentIn()).code).toBe('VMDK_BAD_ARCHIVE');
  });

  test('one with a name record of a megabyte', () => {
    const { member } = streamMember(`${'n'.repeat(MIB)}.vmdk`, 1);
    writeOva(archive, [member], { names: 'gnu' });
    expect(errorOf(() => contentIn()).code).toBe('VMDK_BAD_ARCHIVE');
  });
});
