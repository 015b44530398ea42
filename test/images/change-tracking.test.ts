/** Images whose changes are tracked, and encrypted ones. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { errorOf, readAll, readDisk } from '../helpers/disk-reading.js';
import { writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;
const SECTORS = 2048;

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});

interface Text {
  readonly eol?: '\n' | '\r\n';
  readonly cid?: string;
  readonly extent: string;
  /** Lines of the header besides the usual ones. */
  readonly more?: readonly string[];
}

/** A descriptor as ESXi writes it with change tracking. */
function tracked({ eol = '\n', cid = '0badcafe', extent, more = [] }: Text): string {
  return [
    '# Disk DescriptorFile',
    'version=3',
    'encoding="UTF-8"',
    `CID=${cid}`,
    'parentCID=ffffffff',
    'createType="custom"',
    ...more,
    '',
    '# Extent description',
    extent,
    '',
    '# Change Tracking File',
    'changeTrackPath="disk-ctk.vmdk"',
    '',
    '# The Disk Data Base ',
    '#DDB',
    '',
    'ddb.longContentID = "00112233445566778899aabb0badcafe"',
    'ddb.adapterType = "lsilogic"',
    '',
  ].join(eol);
}

interface Kind {
  readonly name: string;
  /** Makes the image with a descriptor around its extent line. */
  readonly make: (text: Omit<Text, 'extent'>) => string;
  /** The version that the header has afterwards; none where there is no header. */
  readonly version: number | undefined;
}

const embedded =
  (flags: number): Kind['make'] =>
  (text) => {
    const descriptor = tracked({ ...text, extent: `RW ${SECTORS} SPARSE "disk.vmdk"` });
    const shape = { sectors: SECTORS, grainSectors: 128, tableEntries: 512, version: 3, flags };
    writeSparseFile(image, { ...shape, descriptor });
    return descriptor;
  };

const KINDS: readonly Kind[] = [
  { name: 'embedded', make: embedded(3), version: 1 },
  { name: 'embedded, with zeroed grains', make: embedded(7), version: 2 },
  {
    name: 'separate, a flat extent',
    version: undefined,
    make: (text) => {
      writeFileSync(join(folder, 'disk-flat.vmdk'), pattern(MIB, 1));
      const descriptor = tracked({ ...text, extent: `RW ${SECTORS} VMFS "disk-flat.vmdk"` });
      writeFileSync(image, descriptor);
      return descriptor;
    },
  },
];

/** What the image file has to be after the first write, but for its CID and what is of the extent. */
function untracked(descriptor: string, cid: string): string {
  return descriptor
    .replace('version=3', 'version=1')
    .replace(/^changeTrackPath=.*?(?=\r?$)/m, (line) => '#'.padEnd(line.length))
    .replace(/^CID=[0-9a-f]+/m, `CID=${cid}`)
    .replace('aabb0badcafe', `aabb${cid}`);
}

function write(): void {
  const { device } = openImage(image, { readOnly: false, dropChangeTracking: true });
  device.write(pattern(4096, 9), 0, 4096, 8192);
  device.close();
}

describe.each(KINDS)('an image with change tracking, $name', ({ make, version }) => {
  test('is refused for writing with the reason and both ways out', () => {
    make({});
    const before = readFileSync(image);
    const { code, message } = errorOf(() => openImage(image, { readOnly: false }));
    expect(code).toBe('VMDK_READ_ONLY');
    expect(message).toMatch(
      /disk\.vmdk: .*tracked for incremental backups.*-o ro.*--drop-change-tracking/,
    );
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test('is read, and stays as it was', () => {
    make({});
    const before = readFileSync(image);
    expect(readAll(image).length).toBe(MIB);
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test('keeps its reference as long as nothing is written', () => {
    make({});
    const before = readFileSync(image);
    const { device } = openImage(image, { readOnly: false, dropChangeTracking: true });
    device.read(Buffer.alloc(4096), 0, 4096, 0);
    device.flush();
    expect(readFileSync(image).equals(before)).toBe(true);
    device.close();
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test.each(
    (['\n', '\r\n'] as const).flatMap((eol) =>
      ['0badcafe', '77161c8', '1'].map((cid) => ({ eol, cid, title: JSON.stringify(eol) })),
    ),
  )(
    'loses it with the first write and nothing else: CID $cid, lines end in $title',
    ({ eol, cid }) => {
      const descriptor = make({ eol, cid });
      const before = readFileSync(image);
      write();
      const after = readFileSync(image);
      const start = version === undefined ? 0 : 512;
      const text = after.toString('latin1', start, start + 20 * 512);
      const newCid = /^CID=([0-9a-f]{8})\r?$/m.exec(text)?.[1] ?? 'none';
      expect(newCid).not.toBe(cid.padStart(8, '0'));
      const wanted = untracked(descriptor, newCid);
      expect(text.slice(0, wanted.length)).toBe(wanted);
      if (version === undefined) {
        expect(after.length).toBe(wanted.length);
      } else {
        expect(after.subarray(512 + wanted.length, 21 * 512).every((byte) => byte === 0)).toBe(
          true,
        );
        expect(after.readUInt32LE(4)).toBe(version);
        expect(after.subarray(8, 512).equals(before.subarray(8, 512))).toBe(true);
      }
      // Nobody has to be asked again.
      const { chain, device } = openImage(image, { readOnly: false });
      expect(chain[0]?.descriptor.changeTrackPath).toBeUndefined();
      expect(readDisk(device, 8192, 4096).equals(pattern(4096, 9))).toBe(true);
      device.close();
    },
  );
});

describe('a header of version 3 without a reference in the descriptor', () => {
  beforeEach(() => {
    const descriptor = `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\nRW ${SECTORS} SPARSE "x"\n`;
    writeSparseFile(image, {
      sectors: SECTORS,
      grainSectors: 128,
      tableEntries: 512,
      version: 3,
      descriptor,
    });
  });

  test('is refused for writing, and read', () => {
    const { code, message } = errorOf(() => openImage(image, { readOnly: false }));
    expect(code).toBe('VMDK_READ_ONLY');
    expect(message).toMatch(/header version 3 .*--drop-change-tracking/);
    expect(readAll(image).length).toBe(MIB);
  });

  test('becomes version 1 with the first write', () => {
    write();
    expect(readFileSync(image).readUInt32LE(4)).toBe(1);
    openImage(image, { readOnly: false }).device.close();
  });
});

// Each extent loses it with its own first write only, so the option is needed again.
test('the extents of a split disk each lose their version 3, also those that were not written', () => {
  const lines = [1, 2].map((number) => {
    const file = `s${number}.vmdk`;
    writeSparseFile(join(folder, file), {
      sectors: 256,
      grainSectors: 8,
      tableEntries: 512,
      version: 3,
    });
    return `RW 256 SPARSE "${file}"`;
  });
  writeDescriptor(image, lines);
  write();
  openImage(image, { readOnly: false }).device.close();
});

describe('a parent with change tracking', () => {
  test('is no hindrance, and stays as it was', () => {
    KINDS[2]?.make({});
    const before = readFileSync(image);
    const child = join(folder, 'child.vmdk');
    createImage(child, { size: undefined, backing: image });
    const { device } = openImage(child, { readOnly: false });
    device.write(pattern(512, 1), 0, 512, 0);
    device.close();
    expect(readFileSync(image).equals(before)).toBe(true);
  });
});

describe('an encrypted disk', () => {
  test.each([
    ['encryptionKeys="vmware:key/list/(pair/(phrase/x))"'],
    ['keyID = "abc"'],
    ['ddb.iofilters = "vmwarevmcrypt"'],
    ['DDB.IOFILTERS="VMWAREVMCRYPT"'],
  ])('with %s is refused, for reading too', (line) => {
    writeFileSync(join(folder, 'a.raw'), Buffer.alloc(4096));
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 0', line]);
    for (const readOnly of [true, false]) {
      const error = errorOf(() =>
        openImage(image, { readOnly, dropChangeTracking: true, force: true }),
      );
      expect(error.code).toBe('VMDK_ENCRYPTED');
      expect(error.message).toMatch(/disk\.vmdk: .*encrypted/);
    }
  });
});
