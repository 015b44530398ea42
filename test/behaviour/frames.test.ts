import { constants } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { describe, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { DiskFileSystem, initialMode } from '../../src/fs/disk-file-system.js';
import { newDiskState } from '../../src/fs/disk-state.js';
import { SetattrIn } from '../../src/fuse/kernel/abi.js';
import { SetattrValid } from '../../src/fuse/kernel/opcodes.js';
import { BEHAVIOUR_DISK_BYTES, emptyDisk, marked } from '../helpers/disks.js';
import { FrameClient } from '../helpers/frame-client.js';
import { READ_ONLY, WRITABLE, type DiskFile } from './disk-behaviours.js';

const DISK = 2;
/** The kernel cuts what programs ask for into requests of at most 1 MiB. */
const REQUEST_MAX = 1024 * 1024;

function openDisk(image: string, readOnly: boolean): DiskFile {
  const { device } = openImage(image, { readOnly });
  onTestFinished(() => {
    device.close();
  });
  const state = newDiskState({ uid: 0, gid: 0, mode: initialMode(device), mtime: 0 });
  const log = (): void => undefined;
  const options = { state, writebackCache: false, hasUncachedFiles: true, log };
  const client = new FrameClient(new DiskFileSystem(device, options));
  return adapt(client, readOnly);
}

function adapt(client: FrameClient, readOnly: boolean): DiskFile {
  const named = (result: number): string => (result < 0 ? getSystemErrorName(result) : '');
  const counted = (result: number): number | string => (result < 0 ? named(result) : result);
  const opened = client.open(DISK, readOnly ? constants.O_RDONLY : constants.O_RDWR);
  if (opened < 0) throw new Error(named(opened));
  return {
    size: BEHAVIOUR_DISK_BYTES,
    read: (length, offset) => {
      const parts: Buffer[] = [];
      for (let done = 0; done < length; done += REQUEST_MAX) {
        parts.push(client.read(DISK, Math.min(REQUEST_MAX, length - done), offset + done));
      }
      return Promise.resolve(Buffer.concat(parts));
    },
    write: (bytes, offset) => {
      const refused = client.open(DISK, constants.O_RDWR);
      if (refused < 0) return Promise.resolve(named(refused));
      return Promise.resolve(counted(client.write(DISK, bytes, offset)));
    },
    truncate: (size) =>
      Promise.resolve(named(client.setattr(DISK, SetattrValid.SIZE, [[SetattrIn.size, size]]))),
    sync: () => Promise.resolve(named(client.ask('FSYNC', DISK, 16, []).error)),
    chmod: (mode) =>
      Promise.resolve(named(client.setattr(DISK, SetattrValid.MODE, [[SetattrIn.mode, mode]]))),
    setTimes: (seconds) =>
      Promise.resolve(
        named(client.setattr(DISK, SetattrValid.MTIME, [[SetattrIn.mtime, seconds]])),
      ),
    seek: (whence, offset) =>
      Promise.resolve(counted(client.lseek(DISK, whence === 'data' ? 3 : 4, offset))),
    fallocate: (mode, offset, length) =>
      Promise.resolve(named(client.fallocate(DISK, mode, offset, length))),
    stat: () => Promise.resolve(client.getattr(DISK)),
  };
}

describe('frames of the kernel protocol, in this process', () => {
  test.each(WRITABLE)('$title', async ({ run }) => {
    await run(openDisk(emptyDisk(), false));
  });

  test.each(READ_ONLY)('$title', async ({ run }) => {
    await run(openDisk(marked(emptyDisk()), true));
  });
});
