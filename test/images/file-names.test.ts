/** Names in a descriptor, and the files that are meant: other encodings, other cases. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { refusal } from '../helpers/refusal.js';
import { vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTORS = 8;
const CONTENT = pattern(SECTORS * 512, 1);

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});

/** A descriptor that names its extent by `name`, bytes as latin1, in `encoding`. */
function describeExtent(name: string | Buffer, encoding = ''): void {
  const bytes = typeof name === 'string' ? Buffer.from(name) : name;
  const line = encoding === '' ? [] : [`encoding="${encoding}"`];
  writeDescriptor(image, []);
  const head = ['# Disk DescriptorFile', 'version=1', 'CID=1', ...line, ''].join('\n');
  const start = `${head}RW ${SECTORS} FLAT "`;
  writeFileSync(image, Buffer.concat([Buffer.from(start), bytes, Buffer.from('" 0\n')]));
}

function put(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, CONTENT);
  return path;
}

function opened(): { content: Buffer; notices: readonly string[] } {
  const { device, notices } = openImage(image, { readOnly: true });
  const content = Buffer.alloc(device.size);
  device.read(content, 0, content.length, 0);
  device.close();
  return { content, notices };
}

describe('an extent is found', () => {
  test.each([
    ['by the encoding of the descriptor', 'windows-936', 'b2e2', '\u6d4b'],
    ['in UTF-8, whatever the descriptor says', 'windows-936', 'c3a9', '\u00e9'],
    ['in windows-1252, whatever the descriptor says', 'UTF-8', '80e9', '\u20ac\u00e9'],
    ['by an encoding of DOS', 'IBM850', '81', '\u00fc'],
  ])('%s', (_how, encoding, hex, stem) => {
    const name = Buffer.concat([Buffer.from(hex, 'hex'), Buffer.from('.raw')]);
    describeExtent(name, encoding);
    put(`${stem}.raw`);
    expect(opened()).toEqual({ content: CONTENT, notices: [] });
  });

  test.each([
    ['Disk-Flat.VMDK', 'disk-flat.vmdk'],
    ['disk-flat.vmdk', 'DISK-FLAT.VMDK'],
    ['\u00c9t\u00e9.raw', '\u00e9t\u00e9.raw'],
    ['C:\\VMs\\Disk-flat.vmdk', 'disk-FLAT.vmdk'],
  ])('as %s in another case, %s, which a line says', (named, there) => {
    describeExtent(named);
    const path = put(there);
    const { content, notices } = opened();
    expect(content.equals(CONTENT)).toBe(true);
    expect(notices).toEqual([
      `${path}: is taken for ${JSON.stringify(named)}, the extent that ${image} names in another case`,
    ]);
  });

  test('as it stands, where another case is there too', () => {
    describeExtent('a.raw');
    put('a.raw');
    writeFileSync(join(folder, 'A.raw'), Buffer.alloc(CONTENT.length));
    expect(opened()).toEqual({ content: CONTENT, notices: [] });
  });

  test('in another case by check and by a mount too', async () => {
    describeExtent('Disk-flat.vmdk');
    put('disk-flat.vmdk');
    const { code, stderr } = await vmdkfs('check', image);
    expect(code).toBe(0);
    expect(stderr).toContain('is taken for "Disk-flat.vmdk"');
  });
});

describe('an extent is not found', () => {
  test('in two other cases', () => {
    describeExtent('a.raw');
    put('A.raw');
    put('a.RAW');
    expect(refusal(image, true).code).toBe('VMDK_MISSING_FILE');
  });

  test('where a folder of its name has another case', () => {
    mkdirSync(join(folder, 'Sub'));
    describeExtent('sub/x.raw');
    put('Sub/x.raw');
    expect(refusal(image, true).code).toBe('VMDK_MISSING_FILE');
  });

  test('in another case outside the folder', () => {
    const outside = tempFolder();
    writeFileSync(join(outside, 'Secret.raw'), CONTENT);
    describeExtent(join(outside, 'secret.raw'));
    expect(refusal(image, true).code).toBe('VMDK_OUTSIDE_FOLDER');
    symlinkSync(join(outside, 'Secret.raw'), join(folder, 'Link.raw'));
    describeExtent('link.raw');
    expect(['VMDK_OUTSIDE_FOLDER', 'VMDK_MISSING_FILE']).toContain(refusal(image, true).code);
  });
});
