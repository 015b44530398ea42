/** Files under names that others know beforehand are not written through links of others. */
import {
  chmodSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const NOBODY = 65534;

let folder: string;
let image: string;
let mountpoint: string;
/** A folder to which everybody writes, and a file in it that is ours alone. */
let shared: string;
let victim: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  mountpoint = join(folder, 'mnt');
  mkdirSync(mountpoint);
  createImage(image, { size: 1024 * 1024, backing: undefined });
  shared = join(folder, 'shared');
  mkdirSync(shared);
  chmodSync(shared, 0o777);
  victim = join(folder, 'victim');
  onTestFinished(async () => {
    if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
  });
});

/** A link in the shared folder to the file of ours, which another user has made. */
function trap(name: string): string {
  const path = join(shared, name);
  symlinkSync(victim, path);
  lchownSync(path, NOBODY, NOBODY);
  return path;
}

async function expectRefusal(code: number, line: RegExp, ...args: readonly string[]) {
  const outcome = await vmdkfs(...args);
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(outcome.stderr).toMatch(line);
  expect(isMountedAt(mountpoint)).toBe(false);
}

describe.skipIf(isMissing('links of others', 'fuse', 'root'))('a mount refuses', () => {
  test('a log that is a link of another user, also to a file that is not there', async () => {
    const log = trap('server.log');
    const refusal = /server\.log: is a link of user 65534; name the file itself/;
    await expectRefusal(4, refusal, 'mount', image, mountpoint, '--log', log);
    expect(existsSync(victim)).toBe(false);
    writeFileSync(victim, 'secret\n');
    await expectRefusal(4, refusal, 'mount', image, mountpoint, '-o', `log=${log}`);
    expect(readFileSync(victim, 'utf8')).toBe('secret\n');
  });

  test('a pid file that is a link', async () => {
    const file = trap('server.pid');
    const refusal = /server\.pid: is no pid file; choose another name/;
    await expectRefusal(3, refusal, 'mount', image, mountpoint, '--pid-file', file);
    expect(existsSync(victim)).toBe(false);
    expect(lstatSync(file).isSymbolicLink()).toBe(true);
  });

  test('an overlay to be made that is a link of another user', async () => {
    const overlay = trap('overlay.vmdk');
    const args = ['mount', image, mountpoint, '--overlay', overlay];
    await expectRefusal(4, /overlay\.vmdk: file already exists/, ...args);
    expect(existsSync(victim)).toBe(false);
    writeFileSync(victim, '');
    await expectRefusal(4, /overlay\.vmdk: is a link of user 65534/, ...args);
    expect(statSync(victim).size).toBe(0);
  });

  test('but follows a link of our own, as it may be for a log', async () => {
    const log = join(shared, 'ours.log');
    symlinkSync(victim, log);
    expect((await vmdkfs('mount', image, mountpoint, '--log', log)).code).toBe(0);
    expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
    expect(existsSync(victim)).toBe(true);
  });
});

test('a new image is not made through a link', async () => {
  const target = join(shared, 'new.vmdk');
  symlinkSync(victim, target);
  const exists = /new\.vmdk: (?:file already exists|is there already)/;
  await expectRefusal(4, exists, 'create', target, '-s', '1M');
  await expectRefusal(4, exists, 'convert', image, target);
  await expectRefusal(4, exists, 'convert', image, target, '-t', 'raw');
  expect(existsSync(victim)).toBe(false);
  writeFileSync(victim, 'secret\n');
  // Replaced is the link.
  expect((await vmdkfs('convert', '--force', '-q', image, target)).code).toBe(0);
  expect(readFileSync(victim, 'utf8')).toBe('secret\n');
  expect(lstatSync(target).isFile()).toBe(true);
});

test.skipIf(isMissing('the folder of a conversion', 'strace'))(
  'the folder in which a conversion makes its image is closed to others, whatever the umask',
  async () => {
    const trace = join(folder, 'trace');
    const convert = [process.execPath, CLI, 'convert', '-q', image, join(shared, 'new.vmdk')];
    const line = 'umask 0; exec strace -f -o "$0" -e trace=mkdir,mkdirat "$@"';
    expect((await run('sh', ['-c', line, trace, ...convert])).code).toBe(0);
    expect(readFileSync(trace, 'utf8')).toMatch(/mkdir\w*\(.*\.vmdkfs-[0-9a-f]{8}\.part", 0700\)/);
    expect(readdirSync(shared)).toEqual(['new.vmdk']);
  },
);
