/** Files of a mounted image that somebody else deletes, replaces, cuts, changes or renames. */
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { pattern } from '../helpers/made-disk.js';
import { mountImage, type Mounted } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
/** Of an event that comes with a flush by itself. */
const FLUSH_MS = 60_000;

interface Setup extends Mounted {
  readonly image: string;
  /** The file that holds the data. */
  readonly extent: string;
  readonly handle: FileHandle;
  readonly log: () => string[];
}

/** A mounted disk of 16 MiB to which 1 MiB was written and synced. */
async function mountedDisk(
  subformat: string,
  extentName: string,
  prepare: (image: string) => string = (image) => image,
): Promise<Setup> {
  const folder = join(tempFolder(), 'images');
  mkdirSync(folder);
  const image = join(folder, 'disk.vmdk');
  const args = ['create', image, '--size', '16M', '--subformat', subformat];
  expect(await vmdkfs(...args)).toMatchObject({ code: 0 });
  const logFile = join(dirname(folder), 'log');
  const mounted = await mountImage(prepare(image), '--log', logFile);
  const handle = await open(mounted.disk, 'r+');
  onTestFinished(() => handle.close().catch(() => undefined));
  await handle.write(pattern(MIB, 1), 0, MIB, 0);
  await handle.datasync();
  const log = (): string[] =>
    readFileSync(logFile, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  return { ...mounted, image, extent: join(folder, extentName), handle, log };
}

/** '' or the name of the error with which a write and its sync end. */
async function writeAndSync(handle: FileHandle, seed: number): Promise<string> {
  try {
    await handle.write(pattern(64 * 1024, seed), 0, 64 * 1024, seed * MIB);
    await handle.datasync();
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

const EXTENTS = [
  ['monolithicSparse', 'disk.vmdk'],
  ['monolithicFlat', 'disk-flat.vmdk'],
] as const;

/** What somebody does to an extent, and what the log says of it. */
const LOSSES: readonly (readonly [string, (path: string) => void, RegExp])[] = [
  [
    'deleted',
    (path) => {
      rmSync(path);
    },
    /was deleted; nothing more is written/,
  ],
  [
    'replaced by another',
    (path) => {
      copyFileSync(path, `${path}.new`);
      renameSync(`${path}.new`, path);
    },
    /was deleted; nothing more is written/,
  ],
  [
    'moved aside for another',
    (path) => {
      renameSync(path, `${path}.old`);
      copyFileSync(`${path}.old`, path);
    },
    /another file is in its place; nothing more is written/,
  ],
  [
    'cut',
    (path) => {
      truncateSync(path, 150_000);
    },
    /was cut .*\d+ bytes; nothing more is written/,
  ],
];

const isAbsent = isMissing('files underneath a mount', 'fuse');
describe.skipIf(isAbsent).each(EXTENTS)('%s', (subformat, extentName) => {
  test.each(LOSSES)('an extent that is %s gets nothing more', async (_how, harm, words) => {
    const { extent, handle, log, mountpoint } = await mountedDisk(subformat, extentName);
    harm(extent);
    const left = statSync(extent, { throwIfNoEntry: false });
    const bytes = left === undefined ? undefined : readFileSync(extent);
    expect(await writeAndSync(handle, 4)).toBe('EIO');
    expect(await writeAndSync(handle, 5)).toBe('EIO');
    expect((await handle.read(Buffer.alloc(512), 0, 512, 0)).bytesRead).toBe(512);
    await handle.close().catch(() => undefined);
    expect(log().join('\n')).toMatch(words);
    expect(log().join('\n')).toContain(extent);
    // What stands there by the old name is another's, and stays as it is.
    if (bytes !== undefined && left?.size !== 150_000) {
      expect(readFileSync(extent).equals(bytes)).toBe(true);
    }
    const { code, stderr } = await vmdkfs('unmount', mountpoint);
    expect(stderr).toMatch(/nothing more is written/);
    expect(code).toBe(4);
    expect(log().filter((line) => words.test(line))).toHaveLength(1);
  });

  test('an extent that is deleted before the first write gets none', async () => {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    await vmdkfs('create', image, '--size', '16M', '--subformat', subformat);
    const { disk } = await mountImage(image);
    rmSync(join(folder, extentName));
    const handle = await open(disk, 'r+');
    onTestFinished(() => handle.close().catch(() => undefined));
    await expect(handle.write(pattern(512, 1), 0, 512, 0)).rejects.toMatchObject({ code: 'EIO' });
  });

  test('an extent that another program has changed is told once, and goes on', async () => {
    const { extent, handle, log, unmount } = await mountedDisk(subformat, extentName);
    // Whatever was written last is a flush ago by now.
    const touch = (): void => {
      utimesSync(extent, new Date(), new Date());
    };
    const isTold = (): boolean => {
      touch();
      return log().length > 0;
    };
    await until('the change is told', FLUSH_MS, isTold);
    expect(log()).toEqual([
      expect.stringContaining(`${extent}: another program has changed it`) as string,
    ]);
    touch();
    expect(await writeAndSync(handle, 4)).toBe('');
    await handle.close();
    await unmount();
    expect(log()).toHaveLength(1);
  });

  test('renamed folders, links and discards are no reason for alarm', async () => {
    const linked = (image: string): string => {
      const link = join(dirname(dirname(image)), 'link.vmdk');
      symlinkSync(image, link);
      return link;
    };
    const setup = await mountedDisk(subformat, extentName, linked);
    const { disk, extent, handle, image, log, unmount } = setup;
    linkSync(extent, `${extent}.linked`);
    expect(await writeAndSync(handle, 2)).toBe('');
    rmSync(`${extent}.linked`);
    const folder = dirname(image);
    rmSync(join(dirname(folder), 'link.vmdk'));
    symlinkSync('/dev/null', join(dirname(folder), 'link.vmdk'));
    expect(await writeAndSync(handle, 3)).toBe('');
    renameSync(folder, `${folder}-moved`);
    expect(await writeAndSync(handle, 4)).toBe('');
    // Another folder by the old name, with files by the old names.
    mkdirSync(folder);
    copyFileSync(join(`${folder}-moved`, 'disk.vmdk'), image);
    copyFileSync(join(`${folder}-moved`, extentName), extent);
    for (let seed = 5; seed < 12; seed++) {
      expect(await writeAndSync(handle, seed)).toBe('');
      // What is discarded is a hole where the file ended with data.
      const range = ['-o', String(seed * MIB), '-l', String(64 * 1024)];
      if (seed < 11) await check('fallocate', '-p', ...range, disk);
    }
    await handle.close();
    await unmount();
    expect(log()).toEqual([]);
    const { device } = openImage(join(`${folder}-moved`, 'disk.vmdk'), { readOnly: true });
    const bytes = Buffer.alloc(64 * 1024);
    device.read(bytes, 0, bytes.length, 11 * MIB);
    device.close();
    expect(bytes.equals(pattern(64 * 1024, 11))).toBe(true);
  });
});

describe.skipIf(isAbsent)('a snapshot', () => {
  test('has no name to lose', async () => {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    await vmdkfs('create', image, '--size', '16M');
    const logFile = join(folder, 'log');
    const { disk, unmount } = await mountImage(image, '--snapshot', '--log', logFile);
    const handle = await open(disk, 'r+');
    onTestFinished(() => handle.close().catch(() => undefined));
    for (let seed = 1; seed < 8; seed++) {
      expect(await writeAndSync(handle, seed)).toBe('');
      await vmdkfs('--version');
    }
    await handle.close();
    await unmount();
    expect(readFileSync(logFile, 'utf8')).toBe('');
  });
});
