import { open, stat, chmod, truncate, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import {
  BEHAVIOUR_DISK_BYTES,
  emptyDisk,
  marked,
  markedFlat,
  partitionedDisk,
} from '../helpers/disks.js';
import { fallocateHost, seekHost } from '../helpers/holes.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run } from '../helpers/run.js';
import { READ_ONLY, WRITABLE, type Behaviour, type DiskFile } from './disk-behaviours.js';

/** Mounts to run the table on: the transport, with options. */
const TRANSPORTS = ['kernel', 'libfuse'] as const;

async function codeOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function mountDisk(image: string, ...args: readonly string[]): Promise<DiskFile> {
  return mountFile('disk.raw', image, ...args);
}

/** Mounts `image` and opens the file `name` of the mount. */
async function mountFile(
  name: string,
  image: string,
  ...args: readonly string[]
): Promise<DiskFile> {
  const disk = join((await mountImage(image, ...args)).mountpoint, name);
  const readOnly = args.includes('ro');
  const handle = await open(disk, readOnly ? 'r' : 'r+');
  onTestFinished(() => handle.close());
  return {
    size: BEHAVIOUR_DISK_BYTES,
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
    seek: (whence, offset) => Promise.resolve(seekHost(handle.fd, whence, offset)),
    fallocate: (mode, offset, length) =>
      Promise.resolve(fallocateHost(handle.fd, mode, offset, length)),
    stat: () => stat(disk),
  };
}

const isAbsent = isMissing('behaviour of a mount', 'fuse');

/** What of the table a transport can do: libfuse 2 has neither lseek nor fallocate. */
function capable(table: readonly Behaviour[], transport: string): readonly Behaviour[] {
  return table.filter(({ needsHoles }) => transport !== 'libfuse' || needsHoles !== true);
}

describe.skipIf(isAbsent).each(TRANSPORTS)('a mount over %s', (transport) => {
  const args = ['--transport', transport] as const;

  test.each(capable(WRITABLE, transport))('$title', async ({ run: behave }) => {
    await behave(await mountDisk(emptyDisk(), ...args));
  });

  test.each(capable(READ_ONLY, transport))('$title', async ({ run: behave }) => {
    await behave(await mountDisk(marked(emptyDisk()), ...args, '-o', 'ro'));
  });

  test.each(capable(READ_ONLY, transport))('plain file: $title', async ({ run: behave }) => {
    await behave(await mountDisk(markedFlat(), ...args, '-o', 'ro'));
  });

  test.each(capable(WRITABLE, transport))('a partition: $title', async ({ run: behave }) => {
    await behave(await mountFile('p1.raw', partitionedDisk(), ...args));
  });

  test('the tree is a directory with disk.raw, and names cannot be made, moved or removed', async () => {
    const { disk, mountpoint } = await mountImage(emptyDisk(), ...args);
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
    const image = emptyDisk();
    const { disk, unmount } = await mountImage(image, ...args);
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
    const { disk, mountpoint } = await mountImage(emptyDisk(), ...args);
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
    expect(line.trim().split(/\s+/)).toEqual([
      String(BEHAVIOUR_DISK_BYTES),
      String(2 * 1024 * 1024),
    ]);
  });
});

describe.skipIf(isAbsent)('a plain disk mounted read-only without passthrough', () => {
  test.each(READ_ONLY)('$title', async ({ run: behave }) => {
    await behave(await mountDisk(markedFlat(), '-o', 'ro', '-o', 'no_passthrough'));
  });
});

describe.skipIf(isAbsent)('a mount with the writeback cache', () => {
  // The kernel owns size and dirty pages: what it answers itself is in the notes.
  const own = /past the end|over the end|take up no blocks|holes are found|takes up|last data|time/;
  test.each(WRITABLE.filter(({ title }) => !own.test(title)))('$title', async ({ run: behave }) => {
    await behave(await mountDisk(emptyDisk(), '-o', 'writeback_cache'));
  });
});
