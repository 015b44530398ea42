import { open, stat, chmod, truncate, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { READ_ONLY, WRITABLE, type DiskFile } from './disk-behaviours.js';

const SIZE = 8 * 1024 * 1024;

function makeImage(): string {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: SIZE, backing: undefined });
  return image;
}

async function codeOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

async function mountDisk(readOnly: boolean): Promise<DiskFile> {
  const image = makeImage();
  if (readOnly) {
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(512, 7), 0, 512, 0);
    device.close();
  }
  const { disk } = await mountImage(image, ...(readOnly ? ['-o', 'ro'] : []));
  const handle = await open(disk, readOnly ? 'r' : 'r+');
  onTestFinished(() => handle.close());
  return {
    size: SIZE,
    read: async (length, offset) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    },
    write: async (bytes, offset) => {
      let written = 0;
      const code = await codeOf(
        readOnly
          ? open(disk, 'r+')
          : handle.write(bytes, 0, bytes.length, offset).then((result) => {
              written = result.bytesWritten;
            }),
      );
      return code === '' ? written : code;
    },
    truncate: (size) => codeOf(truncate(disk, size)),
    sync: () => codeOf(handle.sync()),
    chmod: (mode) => codeOf(chmod(disk, mode)),
    setTimes: (seconds) => codeOf(utimes(disk, seconds, seconds)),
    stat: () => stat(disk),
  };
}

describe.skipIf(isMissing('behaviour of a mount', 'fuse'))('a mount over fuse-native', () => {
  test.each(WRITABLE)('$title', async ({ run: behave }) => {
    await behave(await mountDisk(false));
  });

  test.each(READ_ONLY)('$title', async ({ run: behave }) => {
    await behave(await mountDisk(true));
  });

  test('the tree is a directory with disk.raw, and names cannot be made, moved or removed', async () => {
    const { disk, mountpoint } = await mountImage(makeImage());
    expect((await check('ls', '-a', mountpoint)).split('\n')).toEqual(['.', '..', 'disk.raw', '']);
    for (const [program, ...args] of [
      ['touch', join(mountpoint, 'other')],
      ['mkdir', join(mountpoint, 'folder')],
      ['mv', disk, join(mountpoint, 'other')],
      ['rm', '-f', disk],
      ['ln', '-s', 'x', join(mountpoint, 'link')],
    ] as const) {
      const { code, stderr } = await run(program, args);
      expect(code, program).not.toBe(0);
      expect(stderr, program).toMatch(/Operation not permitted/);
    }
  });

  test('writes through a shared mapping reach the image', async ({ skip }) => {
    if (isMissing('shared mapping', 'python3')) skip();
    const image = makeImage();
    const { disk, unmount } = await mountImage(image);
    const program =
      'import mmap,sys\nf=open(sys.argv[1],"r+b")\nm=mmap.mmap(f.fileno(),0)\nm[70000:70005]=b"hello"\nm.flush()\nassert m[70000:70005]==b"hello" and m[69999]==0\n';
    await check('python3', '-c', program, disk);
    await unmount();
    const { device } = openImage(image, { readOnly: true });
    const bytes = Buffer.alloc(5);
    device.read(bytes, 0, 5, 70000);
    device.close();
    expect(bytes.toString()).toBe('hello');
  });

  test('df shows the size of the disk and what of it is in use', async () => {
    const { disk, mountpoint } = await mountImage(makeImage());
    await check(
      'dd',
      'if=/dev/urandom',
      `of=${disk}`,
      'bs=1M',
      'count=2',
      'conv=notrunc',
      'status=none',
    );
    const [, line = ''] = (await check('df', '-B1', '--output=size,used', mountpoint)).split('\n');
    expect(line.trim().split(/\s+/)).toEqual([String(SIZE), String(2 * 1024 * 1024)]);
  });
});
