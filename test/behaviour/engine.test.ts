import { constants } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { describe, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { DiskFileSystem, initialMode } from '../../src/fs/disk-file-system.js';
import { newDiskState } from '../../src/fs/disk-state.js';
import { ROOT_INODE, type AttributeChanges } from '../../src/fuse/file-system.js';
import {
  BEHAVIOUR_DISK_BYTES,
  EMPTY_DISKS,
  marked,
  PARTITION_START,
  partitionedDisk,
} from '../helpers/disks.js';
import { READ_ONLY, WRITABLE, type DiskFile } from './disk-behaviours.js';

/** A file of a fresh disk behind `FileSystem`, without a kernel. */
function openDisk(image: string, readOnly: boolean, name = 'disk.raw'): DiskFile {
  const { device } = openImage(image, { readOnly });
  onTestFinished(() => {
    device.close();
  });
  const state = newDiskState({ uid: 0, gid: 0, mode: initialMode(device), mtime: 0 });
  const options = {
    state,
    writebackCache: false,
    hasUncachedFiles: true,
    log: (): void => undefined,
  };
  return adapt(new DiskFileSystem(device, options), readOnly, name);
}

function adapt(fileSystem: DiskFileSystem, readOnly: boolean, name: string): DiskFile {
  const ino = fileSystem.lookup(ROOT_INODE, name);
  const named = (result: number): string => (result < 0 ? getSystemErrorName(result) : '');
  const change = (changes: AttributeChanges): Promise<string> =>
    Promise.resolve(named(fileSystem.setattr(ino, changes)));
  return {
    size: BEHAVIOUR_DISK_BYTES,
    read: (length, offset) => {
      const target = Buffer.alloc(length);
      return Promise.resolve(target.subarray(0, fileSystem.read(ino, target, length, offset)));
    },
    write: (bytes, offset) => {
      const opened = fileSystem.open(ino, constants.O_RDWR, 0);
      if (readOnly && opened < 0) return Promise.resolve(named(opened));
      const result = fileSystem.write(ino, bytes, bytes.length, offset);
      return Promise.resolve(result < 0 ? named(result) : result);
    },
    truncate: (size) => change({ size }),
    sync: () => Promise.resolve(named(fileSystem.fsync(ino))),
    chmod: (mode) => change({ mode }),
    setTimes: (seconds) => change({ mtime: seconds * 1000 }),
    seek: (whence, offset) => {
      const found = fileSystem.lseek(ino, offset, whence === 'data' ? 3 : 4);
      return Promise.resolve(found < 0 ? named(found) : found);
    },
    fallocate: (mode, offset, length) =>
      Promise.resolve(named(fileSystem.fallocate(ino, mode, offset, length))),
    stat: () => {
      const attributes = fileSystem.getattr(ino);
      if (attributes === undefined) throw new Error('disk.raw has no attributes');
      return Promise.resolve({ ...attributes, mtimeMs: attributes.mtime });
    },
  };
}

describe.each(EMPTY_DISKS)('the engine behind FileSystem: $name', ({ hasUsualGrains, make }) => {
  const writable = WRITABLE.filter(
    ({ needsUsualGrains }) => hasUsualGrains || needsUsualGrains !== true,
  );

  test.each(writable)('$title', async ({ run }) => {
    await run(openDisk(make(), false));
  });

  test.each(READ_ONLY)('$title', async ({ run }) => {
    await run(openDisk(marked(make()), true));
  });
});

describe('a partition behind FileSystem', () => {
  test.each(WRITABLE)('$title', async ({ run }) => {
    await run(openDisk(partitionedDisk(), false, 'p1.raw'));
  });

  test.each(READ_ONLY)('$title', async ({ run }) => {
    await run(openDisk(marked(partitionedDisk(), PARTITION_START), true, 'p1.raw'));
  });
});
