import { constants } from 'node:fs';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { describe, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { DiskFileSystem } from '../../src/fs/disk-file-system.js';
import { ROOT_INODE, type AttributeChanges } from '../../src/fuse/file-system.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { READ_ONLY, WRITABLE, type DiskFile } from './disk-behaviours.js';

const SIZE = 8 * 1024 * 1024;

/** A fresh disk behind `FileSystem`, without a kernel. */
function openDisk(readOnly: boolean): DiskFile {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: SIZE, backing: undefined });
  if (readOnly) {
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(512, 7), 0, 512, 0);
    device.close();
  }
  const { device } = openImage(image, { readOnly });
  onTestFinished(() => {
    device.close();
  });
  const options = { uid: 0, gid: 0, mtime: 0, log: (): void => undefined };
  return adapt(new DiskFileSystem(device, options), readOnly);
}

function adapt(fileSystem: DiskFileSystem, readOnly: boolean): DiskFile {
  const ino = fileSystem.lookup(ROOT_INODE, 'disk.raw');
  const named = (result: number): string => (result < 0 ? getSystemErrorName(result) : '');
  const change = (changes: AttributeChanges): Promise<string> =>
    Promise.resolve(named(fileSystem.setattr(ino, changes)));
  return {
    size: SIZE,
    read: (length, offset) => {
      const target = Buffer.alloc(length);
      return Promise.resolve(target.subarray(0, fileSystem.read(ino, target, length, offset)));
    },
    write: (bytes, offset) => {
      const opened = fileSystem.open(ino, constants.O_RDWR);
      if (readOnly && opened < 0) return Promise.resolve(named(opened));
      const result = fileSystem.write(ino, bytes, bytes.length, offset);
      return Promise.resolve(result < 0 ? named(result) : result);
    },
    truncate: (size) => change({ size }),
    sync: () => Promise.resolve(named(fileSystem.fsync(ino))),
    chmod: (mode) => change({ mode }),
    setTimes: (seconds) => change({ mtime: seconds * 1000 }),
    stat: () => {
      const attributes = fileSystem.getattr(ino);
      if (attributes === undefined) throw new Error('disk.raw has no attributes');
      return Promise.resolve({ ...attributes, mtimeMs: attributes.mtime });
    },
  };
}

describe('the engine behind FileSystem', () => {
  test.each(WRITABLE)('$title', async ({ run }) => {
    await run(openDisk(false));
  });

  test.each(READ_ONLY)('$title', async ({ run }) => {
    await run(openDisk(true));
  });
});
