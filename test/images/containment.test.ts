/** What a descriptor may name: files of the image's folder, and nothing else unless allowed. */
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { errorOf, readDisk } from '../helpers/disk-reading.js';
import { writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, shell } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;
const SECTORS = 8;

let outer: string;
/** The folder of the image, in `outer`. */
let folder: string;
let image: string;

beforeEach(() => {
  outer = tempFolder();
  folder = join(outer, 'vm');
  mkdirSync(folder);
  image = join(folder, 'disk.vmdk');
});

/** A file of `SECTORS`, all of them `value`. */
function plain(path: string, value: number): string {
  writeFileSync(path, Buffer.alloc(SECTORS * 512, value));
  return path;
}

/** The image as a flat disk of the extent file `name`. */
function name(extent: string, path = image): void {
  writeDescriptor(path, [`RW ${SECTORS} FLAT "${extent}" 0`]);
}

/** The value of the disk's first byte. */
function firstByte(path = image, allowOutside = false): number {
  const { device } = openImage(path, { readOnly: true, allowOutside });
  try {
    return readDisk(device, 0, 1).readUInt8();
  } finally {
    device.close();
  }
}

/** The image is refused, and nothing of it stays open; the message. */
function refused(path = image): string {
  const before = readdirSync('/proc/self/fd').length;
  for (const readOnly of [true, false]) {
    const { code, message } = errorOf(() => openImage(path, { readOnly }));
    expect(code).toBe('VMDK_OUTSIDE_FOLDER');
    expect(message).toMatch(/--allow-outside/);
  }
  expect(readdirSync('/proc/self/fd').length).toBe(before);
  return errorOf(() => openImage(path, { readOnly: true })).message;
}

describe('an extent outside the folder', () => {
  test('/etc/passwd is not shown (CVE-2022-47951)', () => {
    writeDescriptor(image, ['RW 1 FLAT "/etc/passwd" 0'], { createType: 'monolithicFlat' });
    expect(refused()).toBe(
      `${image}: its extent "/etc/passwd" is /etc/passwd, outside the image's folder ${folder}; if that is meant, allow it with --allow-outside`,
    );
  });

  test.each<[string, () => string]>([
    ['by an absolute path', () => plain(join(outer, 'a.raw'), 3)],
    ['by ..', () => (plain(join(outer, 'a.raw'), 3), '../a.raw')],
    [
      'by .. of a folder inside',
      () => (mkdirSync(join(folder, 'sub')), plain(join(outer, 'a.raw'), 3), 'sub/../../a.raw'),
    ],
    ['by a Windows ..', () => (plain(join(outer, 'a.raw'), 3), '..\\a.raw')],
    [
      'by the name of a folder that begins as its own',
      () => (mkdirSync(`${folder}-2`), plain(`${folder}-2/a.raw`, 3)),
    ],
    [
      'by a link',
      () => (symlinkSync(plain(join(outer, 'a.raw'), 3), join(folder, 'a.raw')), 'a.raw'),
    ],
    [
      'by a link to a link',
      () => {
        symlinkSync(plain(join(outer, 'a.raw'), 3), join(folder, 'b.raw'));
        symlinkSync('b.raw', join(folder, 'a.raw'));
        return 'a.raw';
      },
    ],
    [
      'by a linked folder',
      () => {
        mkdirSync(join(outer, 'other'));
        plain(join(outer, 'other', 'a.raw'), 3);
        symlinkSync(join(outer, 'other'), join(folder, 'sub'));
        return 'sub/a.raw';
      },
    ],
  ])('%s is refused, and shown where that is allowed', (_name, make) => {
    name(make());
    expect(refused()).toContain(join(outer));
    expect(firstByte(image, true)).toBe(3);
  });

  test('as a sparse extent is refused', () => {
    writeSparseFile(join(outer, 's.vmdk'), { sectors: 256, grainSectors: 8, tableEntries: 512 });
    writeDescriptor(image, ['RW 256 SPARSE "../s.vmdk"']);
    refused();
  });

  test('as a parent is refused, and shown where that is allowed', () => {
    name(plain(join(outer, 'a.raw'), 3), join(outer, 'base.vmdk'));
    writeDescriptor(image, ['RW 256 SPARSE "s.vmdk"'], {
      parentCid: '12345678',
      hint: '../base.vmdk',
    });
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 256, grainSectors: 8, tableEntries: 512 });
    expect(refused()).toMatch(/its parent "\.\.\/base\.vmdk" is .*base\.vmdk, outside/);
    expect(firstByte(image, true)).toBe(3);
  });

  test('of a parent inside is refused', () => {
    name(plain(join(outer, 'a.raw'), 3), join(folder, 'base.vmdk'));
    writeDescriptor(image, ['RW 8 ZERO'], { parentCid: '12345678', hint: 'base.vmdk' });
    refused();
  });

  test('by a path that .. leads out of only when a link is followed is refused', () => {
    // Taken as text it is folder/a.raw, to the system it is outer/other/a.raw.
    mkdirSync(join(outer, 'other', 'deep'), { recursive: true });
    plain(join(outer, 'other', 'a.raw'), 3);
    symlinkSync(join(outer, 'other', 'deep'), join(folder, 'link'));
    name(`${folder}/link/../a.raw`);
    refused();
    plain(join(folder, 'a.raw'), 4);
    expect(firstByte()).toBe(4);
    expect(firstByte(image, true)).toBe(3);
  });

  test('does not hide one of its name beside the image', () => {
    name(plain(join(outer, 'a.raw'), 3));
    plain(join(folder, 'a.raw'), 4);
    expect(firstByte()).toBe(4);
    expect(firstByte(image, true)).toBe(3);
  });
});

describe('an extent inside the folder', () => {
  test.each<[string, () => string]>([
    ['by an absolute path', () => plain(join(folder, 'a.raw'), 3)],
    [
      'in a folder of it',
      () => (mkdirSync(join(folder, 'sub')), plain(join(folder, 'sub', 'a.raw'), 3), 'sub/a.raw'),
    ],
    [
      'in a folder of it, by a Windows path',
      () => (mkdirSync(join(folder, 'sub')), plain(join(folder, 'sub', 'a.raw'), 3), 'sub\\a.raw'),
    ],
    ['out and in again', () => (plain(join(folder, 'a.raw'), 3), '../vm/a.raw')],
    [
      'by a link inside',
      () => (plain(join(folder, 'a.raw'), 3), symlinkSync('a.raw', join(folder, 'b.raw')), 'b.raw'),
    ],
    ['called ..a.raw', () => (plain(join(folder, '..a.raw'), 3), '..a.raw')],
    ['by an ESX path', () => (plain(join(folder, 'a.raw'), 3), '/vmfs/volumes/4b3d/vm/a.raw')],
    [
      'by the path of another machine',
      () => (plain(join(folder, 'a.raw'), 3), 'D:\\Virtual Machines\\vm\\a.raw'),
    ],
  ])('%s is shown', (_name, make) => {
    name(make());
    expect(firstByte()).toBe(3);
  });

  test('of a parent in a folder below is shown', () => {
    const sub = join(folder, 'sub');
    mkdirSync(sub);
    plain(join(folder, 'a.raw'), 3);
    name('../a.raw', join(sub, 'base.vmdk'));
    writeDescriptor(image, ['RW 256 SPARSE "s.vmdk"'], {
      parentCid: '12345678',
      hint: 'sub/base.vmdk',
    });
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 256, grainSectors: 8, tableEntries: 512 });
    expect(firstByte()).toBe(3);
  });
});

describe('an image named through a link', () => {
  test('finds what lies beside the link and beside the file', () => {
    plain(join(folder, 'a.raw'), 3);
    name('a.raw');
    const link = join(outer, 'link.vmdk');
    symlinkSync(image, link);
    expect(firstByte(link)).toBe(3);
    plain(join(outer, 'a.raw'), 4);
    expect(firstByte(link)).toBe(4);
    mkdirSync(join(outer, 'third'));
    name(plain(join(outer, 'third', 'c.raw'), 5));
    expect(firstByte(link)).toBe(5); // below the folder of the link
    expect(refused()).toContain('third');
  });

  test('to a folder finds what lies in it', () => {
    plain(join(folder, 'a.raw'), 3);
    name('a.raw');
    symlinkSync(folder, join(outer, 'other'));
    expect(firstByte(join(outer, 'other', 'disk.vmdk'))).toBe(3);
  });

  test('and .. behind the link is the file that the system means', () => {
    mkdirSync(join(folder, 'deep'));
    plain(join(folder, 'a.raw'), 3);
    name('a.raw');
    symlinkSync(join(folder, 'deep'), join(outer, 'link'));
    expect(firstByte(`${outer}/link/../disk.vmdk`)).toBe(3);
  });
});

describe('files that are not files', () => {
  test('a FIFO is refused without waiting for somebody to write', async () => {
    await check('mkfifo', join(folder, 'pipe'));
    name('pipe');
    expect(errorOf(() => openImage(image, { readOnly: true })).code).toBe('VMDK_NOT_A_FILE');
    writeDescriptor(image, ['RW 8 ZERO'], { parentCid: '1', hint: 'pipe' });
    expect(errorOf(() => openImage(image, { readOnly: false })).code).toBe('VMDK_NOT_A_FILE');
    expect(errorOf(() => openImage(join(folder, 'pipe'), { readOnly: true })).code).toBe(
      'VMDK_NOT_A_FILE',
    );
  });

  test('a socket is refused', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
    name('socket');
    expect(errorOf(() => openImage(image, { readOnly: true })).code).toBe('VMDK_NOT_A_FILE');
    server.close();
  });

  test.each(['/dev/zero', '/dev/null', '/dev/tty'])(
    '%s is refused, whatever is allowed',
    (device) => {
      for (const line of [`RW 8 FLAT "${device}" 0`, `RW 8 VMFSRAW "${device}"`]) {
        writeDescriptor(image, [line]);
        const options = { readOnly: true, allowOutside: true, allowDevices: true };
        expect(errorOf(() => openImage(image, options)).code).toBe('VMDK_NOT_A_FILE');
      }
    },
  );
});

describe.skipIf(isMissing('a folder that may not be searched', 'root', 'setpriv'))(
  'a folder that may not be searched',
  () => {
    test('does not hide what lies beside the image', async () => {
      const secret = join(outer, 'secret');
      mkdirSync(secret);
      plain(join(secret, 'a.raw'), 3);
      plain(join(folder, 'a.raw'), 4);
      name(join(secret, 'a.raw'));
      chmodSync(secret, 0o700);
      chmodSync(outer, 0o755);
      const cli = new URL('../../dist/block/open-image.js', import.meta.url).href;
      const code = `import('${cli}').then(({ openImage }) => {
      const { device } = openImage(process.argv[1], { readOnly: true });
      const bytes = Buffer.alloc(1);
      device.read(bytes, 0, 1, 0);
      console.log(bytes[0]);
    })`;
      const args = [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        process.execPath,
        '-e',
        code,
        image,
      ];
      expect(await run('setpriv', args)).toEqual({ code: 0, stdout: '4\n', stderr: '' });
    });
  },
);

describe.skipIf(isMissing('the root folder', 'root'))('the root folder', () => {
  test('stands for what lies right in it', () => {
    const path = '/vmdkfs-containment-test.vmdk';
    const extent = '/vmdkfs-containment-test.raw';
    onTestFinished(() => {
      for (const each of [path, extent]) rmSync(each, { force: true });
    });
    plain(extent, 3);
    name('vmdkfs-containment-test.raw', path);
    expect(firstByte(path)).toBe(3);
    name('etc/passwd', path);
    expect(refused(path)).toContain('/etc/passwd');
  });
});

describe.skipIf(isMissing('block devices', 'root', 'loop', 'ext4'))('block devices', () => {
  async function loop(bytes = 4 * MIB): Promise<string> {
    const file = join(outer, 'backing');
    writeFileSync(file, pattern(bytes, 3));
    const device = (await shell('losetup --find --show "$1"', file)).trim();
    onTestFinished(async () => {
      await run('losetup', ['--detach', device]);
    });
    return device;
  }

  test('are refused without the option for it', async () => {
    writeDescriptor(image, [`RW 8192 FLAT "${await loop()}" 0`]);
    const { code, message } = errorOf(() => openImage(image, { readOnly: true }));
    expect(code).toBe('VMDK_NOT_A_FILE');
    expect(message).toMatch(/\/dev\/loop\d+: is a block device; .*--allow-devices/);
    writeDescriptor(image, ['RW 8192 VMFSRAW "/dev/loop0"']);
    expect(errorOf(() => openImage(image, { readOnly: true })).message).toMatch(/--allow-devices/);
  });

  test.each(['FLAT', 'VMFSRDM'])('are read, written and punched as %s extents', async (type) => {
    const path = await loop();
    writeDescriptor(image, [`RW 8192 ${type} "${path}"`]);
    const content = pattern(4 * MIB, 3);
    const { device } = openImage(image, { readOnly: false, allowDevices: true });
    const bytes = pattern(10_000, 8);
    device.write(bytes, 0, bytes.length, 5000);
    bytes.copy(content, 5000);
    device.zero(MIB, MIB);
    content.fill(0, MIB, 2 * MIB);
    device.zero(3 * MIB - 100, 777);
    content.fill(0, 3 * MIB - 100, 3 * MIB + 677);
    device.flush();
    expect(readDisk(device, 0, content.length).equals(content)).toBe(true);
    // tar -S takes a file without blocks for one without data.
    expect(device.allocatedBytes()).toBe(4 * MIB);
    expect(device.nextData(0, device.size)).toBe(0);
    device.close();
    expect(readFileSync(join(outer, 'backing')).equals(content)).toBe(true);
  });

  test('that are too short are refused', async () => {
    writeDescriptor(image, [`RW 8193 FLAT "${await loop()}" 0`]);
    const error = errorOf(() => openImage(image, { readOnly: true, allowDevices: true }));
    expect(error.code).toBe('VMDK_TRUNCATED');
  });

  test('that are mounted are busy for writing, and read', async () => {
    const path = await loop(8 * MIB);
    await shell('mkfs.ext4 -q "$1"', path);
    const mountpoint = join(outer, 'mnt');
    mkdirSync(mountpoint);
    await shell('mount "$1" "$2"', path, mountpoint);
    writeDescriptor(image, [`RW 16384 FLAT "${path}" 0`]);
    try {
      const options = { readOnly: false, allowDevices: true };
      expect(() => openImage(image, options)).toThrow(/EBUSY/);
      openImage(image, { ...options, readOnly: true }).device.close();
    } finally {
      await shell('umount "$1"', mountpoint);
    }
    openImage(image, { readOnly: false, allowDevices: true }).device.close();
  });
});
