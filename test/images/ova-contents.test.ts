/** Disks of an OVA are known by what is in them; the OVF among them says in which order they are. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { attachLayers } from '../../src/block/attach-image.js';
import { createImage } from '../../src/block/create-image.js';
import { mapImage } from '../../src/block/image-map.js';
import { listDisks, openImage } from '../../src/block/open-image.js';
import { errorOf, readDisk } from '../helpers/disk-reading.js';
import { writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { type OvaMember, writeOva } from '../helpers/ova-file.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

let folder: string;
let archive: string;

beforeEach(() => {
  folder = tempFolder();
  archive = join(folder, 'appliance.ova');
});

/** A stream of a disk that tells `number`. */
function stream(number: number): { readonly bytes: Buffer; readonly content: Buffer } {
  const file = join(folder, 'stream.tmp');
  const grains = new Map([[number, pattern(65536, number)]]);
  const { content } = makeStream(file, { family: 'footer', sectors: 2000, grains });
  return { bytes: readFileSync(file), content };
}

function ovf(files: readonly string[], disks: readonly string[] = []): OvaMember {
  const references = files.map((file, index) => `<File ovf:id="f${index}" ${file}/>`);
  const section = disks.map((id) => `<ovf:Disk ovf:diskId="d" ovf:fileRef="${id}"/>`);
  const text = `<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References>${references.join('')}</References><ovf:DiskSection>${section.join('')}</ovf:DiskSection></ovf:Envelope>`;
  return { name: 'appliance.ovf', bytes: Buffer.from(text) };
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

describe('a disk is what begins as a VMDK', () => {
  test.each(['disk1', 'disk.bin', 'no/ending/at all', 'disk.img', 'disk.vmdk.bak', 'x.ovf.old'])(
    'and is called %s',
    (name) => {
      const { bytes, content } = stream(3);
      writeOva(archive, [ovf([`ovf:href="${name}"`]), { name, bytes }]);
      expect(listDisks(archive)).toEqual([name]);
      expect(contentIn().equals(content)).toBe(true);
      expect(contentIn(name).equals(content)).toBe(true);
    },
  );

  test('a descriptor under any name', () => {
    const content = pattern(MIB, 1);
    writeDescriptor(join(folder, 'd'), ['RW 2048 FLAT "data" 0']);
    writeOva(archive, [
      { name: 'the disk', bytes: readFileSync(join(folder, 'd')) },
      { name: 'data', bytes: content },
    ]);
    expect(listDisks(archive)).toEqual(['the disk']);
    expect(contentIn().equals(content)).toBe(true);
  });

  test('settings with a version are none', () => {
    const { bytes } = stream(3);
    const settings = ['a.vmx', 'b.txt', 'c'].map((name) => ({
      name,
      bytes: Buffer.from('name = x\nversion = 1\nCID=3\n'),
    }));
    writeOva(archive, [...settings, { name: 'disk', bytes }]);
    expect(listDisks(archive)).toEqual(['disk']);
  });

  test.each([1, 20])('an extent with room for a descriptor of %i sectors is none', (sectors) => {
    const file = join(folder, 'disk.vmdk');
    createImage(file, { size: MIB, backing: undefined });
    const extent = readFileSync(file);
    // Where qemu-img leaves room for a descriptor in the extents of a split disk.
    const at = Number(extent.readBigUInt64LE(28)) * 512;
    extent.fill(0, at, at + Number(extent.readBigUInt64LE(36)) * 512);
    extent.writeBigUInt64LE(BigInt(sectors), 36);
    writeDescriptor(join(folder, 'd'), ['RW 2048 SPARSE "disk-s001.vmdk"']);
    writeOva(archive, [
      { name: 'disk.vmdk', bytes: readFileSync(join(folder, 'd')) },
      { name: 'disk-s001.vmdk', bytes: extent },
    ]);
    expect(listDisks(archive)).toEqual(['disk.vmdk']);
    expect(contentIn().equals(Buffer.alloc(MIB))).toBe(true);
  });

  test('a damaged disk beside a sound one keeps its place and its error', () => {
    const { bytes, content } = stream(3);
    const damaged = Buffer.from(bytes);
    damaged.fill('x', 512, 1536);
    writeOva(archive, [
      { name: 'a.vmdk', bytes: damaged },
      { name: 'b.vmdk', bytes },
    ]);
    expect(listDisks(archive)).toEqual(['a.vmdk', 'b.vmdk']);
    expect(contentIn('2').equals(content)).toBe(true);
    expect(errorOf(() => contentIn('1')).code).toBe('VMDK_BAD_DESCRIPTOR');
  });
});

describe('the OVF', () => {
  test('gives the order of the disks, then that of its files', () => {
    const names = ['a.vmdk', 'b.vmdk', 'c', 'd.vmdk', 'e'];
    const disks = names.map((name, index) => ({ name, ...stream(index + 1) }));
    const files = ['d.vmdk', 'b.vmdk', 'a.vmdk', 'lost.vmdk'].map((name) => `ovf:href="${name}"`);
    writeOva(archive, [ovf(files, ['f2', 'f3', 'f0', 'f2']), ...disks]);
    expect(listDisks(archive)).toEqual(['a.vmdk', 'd.vmdk', 'b.vmdk', 'c', 'e']);
    expect(contentIn('2').equals(disks[3]!.content)).toBe(true);
  });

  test.each([
    ['a%20disk.vmdk', 'a disk.vmdk'],
    ['a%20disk.vmdk', 'a%20disk.vmdk'],
    ['./sub/../b.vmdk', 'b.vmdk'],
    ['100%.vmdk', '100%.vmdk'],
  ])('names %s, which is %s', (href, name) => {
    const [one, two] = [stream(1), stream(2)];
    writeOva(archive, [
      ovf([`ovf:href="${href}"`], ['f0']),
      { name: 'aaa.vmdk', bytes: one.bytes },
      { name, bytes: two.bytes },
    ]);
    expect(listDisks(archive)).toEqual([name, 'aaa.vmdk']);
  });

  test('in a folder names what lies in there', () => {
    const [one, two] = [stream(1), stream(2)];
    writeOva(archive, [
      { ...ovf(['ovf:href="disk"'], ['f0']), name: 'vm/appliance.ovf' },
      { name: 'disk', bytes: one.bytes },
      { name: 'vm/disk', bytes: two.bytes },
    ]);
    expect(listDisks(archive)).toEqual(['vm/disk', 'disk']);
  });

  test('that is no XML is said, and the disks open', () => {
    const { bytes, content } = stream(3);
    writeOva(archive, [
      { name: 'a.ovf', bytes: Buffer.from('<Envelope><References>') },
      { name: 'disk', bytes },
    ]);
    const { device, notices } = openImage(archive, { readOnly: true });
    device.close();
    expect(notices.join('\n')).toMatch(/appliance\.ova:a\.ovf: is no OVF \(.+\); the disks/);
    expect(contentIn().equals(content)).toBe(true);
  });

  test.each([
    ['a DOCTYPE', '<!DOCTYPE a [<!ENTITY b "c">]><a/>'],
    ['65 levels', '<a>'.repeat(65)],
    ['5 MiB', '<a/>'.padEnd(5 * MIB)],
  ])('with %s is refused', (_name, text) => {
    writeOva(archive, [
      { name: 'a.ovf', bytes: Buffer.from(text) },
      { name: 'disk', bytes: stream(1).bytes },
    ]);
    const error = errorOf(() => contentIn());
    expect(error).toMatchObject({ code: 'VMDK_BAD_ARCHIVE', file: `${archive}:a.ovf` });
    expect(errorOf(() => listDisks(archive)).code).toBe('VMDK_BAD_ARCHIVE');
  });
});

describe('a disk that is no VMDK is named for what it is', () => {
  const vhd = Buffer.concat([pattern(4096, 1), Buffer.from('conectix'.padEnd(512, '\0'))]);

  test.each<[string, Buffer, RegExp]>([
    ['disk.qcow2', Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), /qcow2/],
    ['disk.vmdk', Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), /qcow2/],
    ['disk.vdi', Buffer.from('<<< Oracle VM VirtualBox Disk Image >>>\n'), /VDI/],
    ['disk.vhd', vhd, /VHD/],
    ['disk.vhdx', Buffer.from('vhdxfile'), /VHDX/],
    ['disk.raw', pattern(4096, 1), /raw disk/],
    ['disk', pattern(4096, 1), /raw disk/],
  ])('%s', (name, bytes, kind) => {
    writeOva(archive, [ovf([`ovf:href="${name}"`], ['f0']), { name, bytes }]);
    for (const disk of [undefined, '1', name]) {
      const error = errorOf(() => contentIn(disk));
      expect(error.code).toBe('VMDK_NO_DISK');
      expect(error.message).toMatch(kind);
      expect(error.message).toContain(JSON.stringify(name));
    }
  });

  test('also beside a VMDK', () => {
    const { bytes, content } = stream(1);
    const other = Buffer.from('QFI\xfb\0\0\0\x03', 'latin1');
    writeOva(archive, [
      { name: 'a.qcow2', bytes: other },
      { name: 'b', bytes },
    ]);
    expect(contentIn().equals(content)).toBe(true);
    expect(errorOf(() => contentIn('a.qcow2')).message).toMatch(/"a\.qcow2" is a qcow2 image/);
  });
});

describe('a disk in pieces', () => {
  /** The pieces of `bytes`, each of `size` but the last. */
  const chunks = (name: string, bytes: Buffer, size: number): OvaMember[] =>
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => ({
      name: `${name}.${String(index).padStart(9, '0')}`,
      bytes: bytes.subarray(index * size, (index + 1) * size),
    }));

  test.each([100, 511, 512, 1000, 4096, 50_000, 10_000_000])('of %i bytes', (size) => {
    const { bytes, content } = stream(3);
    const pieces = chunks('disk1', bytes, size);
    writeOva(archive, [ovf([`ovf:href="disk1" ovf:chunkSize="${size}"`], ['f0']), ...pieces]);
    expect(listDisks(archive)).toEqual(['disk1']);
    expect(contentIn().equals(content)).toBe(true);
    expect(contentIn('disk1').equals(content)).toBe(true);
  });

  test('in any order, between other members, without an OVF', () => {
    const { bytes, content } = stream(3);
    const [one, two] = [stream(1), stream(2)];
    writeOva(archive, [
      ...chunks('b.vmdk', bytes, 7777).toReversed(),
      { name: 'a.vmdk', bytes: one.bytes },
      ...chunks('c', two.bytes, 9999),
    ]);
    expect(listDisks(archive)).toEqual(['b.vmdk', 'a.vmdk', 'c']);
    expect(contentIn('b.vmdk').equals(content)).toBe(true);
    expect(contentIn('2').equals(one.content)).toBe(true);
    expect(contentIn('3').equals(two.content)).toBe(true);
  });

  test('a sparse disk whose grains cross pieces', () => {
    const file = join(folder, 'disk.vmdk');
    createImage(file, { size: 3 * MIB, backing: undefined });
    const made = openImage(file, { readOnly: false }).device;
    made.write(pattern(2 * MIB, 4), 0, 2 * MIB, 12345);
    made.close();
    writeOva(archive, chunks('disk.vmdk', readFileSync(file), 100_003));
    const { description, device } = openImage(archive, { readOnly: true });
    expect(readDisk(device, 12345, 2 * MIB).equals(pattern(2 * MIB, 4))).toBe(true);
    expect(readDisk(device, 0, 12345).equals(Buffer.alloc(12345))).toBe(true);
    // Where the map says that bytes are, they are.
    const whole = readFileSync(archive);
    let shown = 0;
    for (const run of mapImage(attachLayers(description))) {
      if (run.kind !== 'data') continue;
      const place = run.place?.offset ?? 0;
      const there = whole.subarray(place, place + run.length);
      expect(there.equals(readDisk(device, run.start, run.length))).toBe(true);
      shown += run.length;
    }
    expect(shown).toBeGreaterThanOrEqual(2 * MIB);
    device.close();
  });

  test('an extent that a descriptor names', () => {
    const content = pattern(MIB, 1);
    writeDescriptor(join(folder, 'd'), ['RW 2048 FLAT "data.bin" 0']);
    const descriptor = { name: 'disk.vmdk', bytes: readFileSync(join(folder, 'd')) };
    writeOva(archive, [descriptor, ...chunks('data.bin', content, 300_000)]);
    expect(contentIn().equals(content)).toBe(true);
  });

  test.each([0, 1, 2])('of which piece %i is missing', (index) => {
    const { bytes } = stream(3);
    const size = Math.ceil(bytes.length / 4);
    const pieces = chunks('disk.vmdk', bytes, size).filter((_, each) => each !== index);
    writeOva(archive, pieces);
    const error = errorOf(() => contentIn());
    const expected = index === 0 ? 'VMDK_NO_DISK' : 'VMDK_TRUNCATED';
    expect(error.code).toBe(expected);
    if (index > 0) expect(error.message).toContain(`"disk.vmdk.00000000${index}"`);
  });

  test('of which the last is missing, as the OVF says', () => {
    const { bytes } = stream(3);
    const pieces = chunks('disk.vmdk', bytes, 10_000).slice(0, -1);
    const said = `ovf:href="disk.vmdk" ovf:chunkSize="10000" ovf:size="${bytes.length}"`;
    writeOva(archive, [ovf([said]), ...pieces]);
    expect(errorOf(() => contentIn()).message).toMatch(/pieces have \d+ bytes of \d+; the last/);
  });
});
