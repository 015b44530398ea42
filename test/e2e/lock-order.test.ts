/**
 * A command that starts while another program still writes to the image, and gets its lock when that
 * program has closed it: it works with what the other has left, not with what it saw before. A tracer
 * stops each command between opening the image and asking for the lock.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { beforeLock, holdCommand } from '../helpers/held-command.js';
import { pattern } from '../helpers/made-disk.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { run, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;
const BLOCK = 4096;
const STEP = 200 * 1024;

const SUBFORMATS: readonly Subformat[] = [
  'monolithicSparse',
  'twoGbMaxExtentSparse',
  'vmfsSparse',
  'seSparse',
  'monolithicFlat',
];

/** Those that can be a child. */
const SPARSE = SUBFORMATS.filter((subformat) => subformat !== 'monolithicFlat');

/** The other program: it has an image open for writing, and leaves blocks all over it. */
class Writer {
  readonly content = Buffer.alloc(SIZE);
  readonly #image: ReturnType<typeof openImage>;

  constructor(path: string) {
    this.#image = openImage(path, { readOnly: false, lock: true });
  }

  /** Makes the first table and a grain of it durable, and the new CID. */
  begin(): this {
    this.#write(0, 1);
    this.#image.device.flush();
    return this;
  }

  #write(at: number, seed: number): void {
    const data = pattern(BLOCK, seed);
    this.#image.device.write(data, 0, BLOCK, at);
    data.copy(this.content, at);
  }

  finish(): void {
    for (let at = STEP; at + BLOCK <= SIZE; at += STEP) this.#write(at, at / STEP);
    this.#image.device.close();
  }
}

function contentOf(path: string): Buffer {
  const { device } = openImage(path, { readOnly: true, lock: true });
  const content = Buffer.alloc(device.size);
  device.read(content, 0, content.length, 0);
  device.close();
  return content;
}

/** Has `vmdkfs` with `args` open `path`, the writer finish meanwhile, and waits for its end. */
async function beside(writer: Writer, path: string, ...args: readonly string[]): Promise<string> {
  const { outcome, release } = await holdCommand(beforeLock(path), args);
  writer.finish();
  release();
  const { code, stderr, stdout } = await outcome;
  expect(`${code} ${stderr}`).toMatch(/^0 /);
  return stdout;
}

/** Runs `action` for images of every kind, side by side: each waits for most of its time. */
async function forEach(
  subformats: readonly Subformat[],
  action: (subformat: Subformat, folder: string) => Promise<void>,
): Promise<void> {
  const root = tempFolder();
  await Promise.all(
    subformats.map(async (subformat) => {
      const folder = join(root, subformat);
      mkdirSync(folder);
      await action(subformat, folder);
    }),
  );
}

function made(folder: string, subformat: Subformat, backing?: string): string {
  const image = join(folder, backing === undefined ? 'disk.vmdk' : 'child.vmdk');
  createImage(image, { size: backing === undefined ? SIZE : undefined, backing, subformat });
  return image;
}

describe.skipIf(isMissing('locks that come late', 'strace', 'fuse'))('opened before', () => {
  test('check finds nothing wrong', async () => {
    await forEach(SUBFORMATS, async (subformat, folder) => {
      const image = made(folder, subformat);
      await beside(new Writer(image).begin(), image, 'check', image);
    });
  });

  test('check --repair changes nothing', async () => {
    await forEach(SPARSE, async (subformat, folder) => {
      const image = made(folder, subformat);
      const writer = new Writer(image).begin();
      await beside(writer, image, 'check', '--repair', image);
      expect(contentOf(image).equals(writer.content), subformat).toBe(true);
    });
  });

  test('convert copies everything', async () => {
    await forEach(SUBFORMATS, async (subformat, folder) => {
      const image = made(folder, subformat);
      const writer = new Writer(image).begin();
      const target = join(folder, 'copy.raw');
      await beside(writer, image, 'convert', '-t', 'raw', image, target);
      expect(readFileSync(target).equals(writer.content), subformat).toBe(true);
    });
  });

  test('compact keeps everything', async () => {
    await forEach(SUBFORMATS, async (subformat, folder) => {
      const image = made(folder, subformat);
      const writer = new Writer(image).begin();
      await beside(writer, image, 'compact', image);
      expect(contentOf(image).equals(writer.content), subformat).toBe(true);
    });
  });

  test('commit merges everything', async () => {
    await forEach(SPARSE, async (subformat, folder) => {
      const base = made(folder, subformat);
      const child = made(folder, subformat, base);
      const writer = new Writer(child).begin();
      await beside(writer, child, 'commit', child);
      expect(contentOf(base).equals(writer.content), subformat).toBe(true);
    });
  });

  test('a mount reads and keeps everything', async () => {
    await forEach(SUBFORMATS, async (subformat, folder) => {
      const image = made(folder, subformat);
      const writer = new Writer(image).begin();
      const { content } = writer;
      await serveBeside(writer, image, folder, async (disk) => {
        expect((await readWith('dd', disk)).equals(content), subformat).toBe(true);
        await writeOver(disk, content);
      });
      expect(contentOf(image).equals(content), subformat).toBe(true);
    });
  });

  test('a mount with an overlay reads everything', async () => {
    await forEach(SUBFORMATS, async (subformat, folder) => {
      const image = made(folder, subformat);
      const writer = new Writer(image).begin();
      const { content } = writer;
      const overlay = ['--overlay', join(folder, 'overlay.vmdk')];
      await serveBeside(
        writer,
        image,
        folder,
        async (disk) => {
          expect((await readWith('dd', disk)).equals(content), subformat).toBe(true);
        },
        overlay,
      );
    });
  });

  test('a mount of an overlay that is there keeps everything', async () => {
    await forEach(['monolithicSparse', 'seSparse'], async (subformat, folder) => {
      const image = made(folder, subformat);
      const overlay = made(folder, subformat, image);
      const writer = new Writer(overlay).begin();
      const { content } = writer;
      await serveBeside(
        writer,
        image,
        folder,
        async (disk) => {
          expect((await readWith('dd', disk)).equals(content), subformat).toBe(true);
          await writeOver(disk, content);
        },
        ['--overlay', overlay],
        overlay,
      );
      expect(contentOf(overlay).equals(content), subformat).toBe(true);
    });
  });

  test('create --backing makes a child of what is there', async () => {
    await forEach(SPARSE, async (subformat, folder) => {
      const image = made(folder, subformat);
      // Its CID changes with the first write.
      const writer = new Writer(image);
      const child = join(folder, 'child.vmdk');
      await beside(writer, image, 'create', child, '--backing', image);
      expect(contentOf(child).equals(writer.content), subformat).toBe(true);
    });
  });
});

/** Mounts `image` while `written` is still written to, and unmounts it when `use` is done with `disk.raw`. */
async function serveBeside(
  writer: Writer,
  image: string,
  folder: string,
  use: (disk: string) => Promise<void>,
  options: readonly string[] = [],
  written = image,
): Promise<void> {
  const mountpoint = join(folder, 'mnt');
  mkdirSync(mountpoint);
  onTestFinished(async () => {
    if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
  });
  const ended = beside(writer, written, 'mount', '-f', image, mountpoint, ...options);
  // Its failure is seen below.
  ended.catch(() => undefined);
  await Promise.race([
    ended,
    until(`${mountpoint} is mounted`, 60_000, () => isMountedAt(mountpoint)),
  ]);
  await use(join(mountpoint, 'disk.raw'));
  expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
  await ended;
}

/** Another process reads the disk: this one must not wait for its own mount. */
async function readWith(program: 'dd', disk: string): Promise<Buffer> {
  const copy = `${tempFolder()}/copy`;
  const { code, stderr } = await run(program, [`if=${disk}`, `of=${copy}`, 'bs=1M', 'status=none']);
  expect(`${code} ${stderr}`).toBe('0 ');
  return readFileSync(copy);
}

/** Writes grains that are new to the mount between those of the writer, and into `content`. */
async function writeOver(disk: string, content: Buffer): Promise<void> {
  for (let at = STEP / 2; at + BLOCK <= SIZE; at += 8 * STEP) {
    const data = Buffer.alloc(BLOCK, 0xee);
    data.copy(content, at);
    const { code } = await run('sh', [
      '-euc',
      `head -c ${BLOCK} /dev/zero | tr '\\0' '\\356' | dd of="$1" bs=${BLOCK} seek=${at / BLOCK} conv=notrunc status=none`,
      'sh',
      disk,
    ]);
    expect(code).toBe(0);
  }
}
