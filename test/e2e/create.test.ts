/** `vmdkfs create`: what it says, its exit codes, and what the host does to it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { SUBFORMATS } from '../../src/vmdk/subformat.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});

/** Makes `image` with `args`, which has to fail with `code` and one line, and make nothing. */
async function expectRefusal(args: readonly string[], code: number, line: RegExp): Promise<void> {
  const before = readdirSync(folder);
  expectOneLine(await vmdkfs('create', image, ...args), code, line);
  expect(readdirSync(folder)).toEqual(before);
}

function expectOneLine(outcome: Outcome, code: number, line: RegExp): void {
  expect(outcome).toEqual({ code, stdout: '', stderr: expect.stringMatching(line) as string });
  expect(outcome.stderr).toMatch(/^vmdkfs: [^\n]+\n$/);
}

describe('create', () => {
  test.each(SUBFORMATS)('makes %s, and says what it made', async (subformat) => {
    const outcome = await vmdkfs('create', image, '--size', '3M', '--subformat', subformat);
    expect(outcome).toEqual({
      code: 0,
      stdout: `${image}: ${subformat}, 3 MiB (3145728 bytes)\n`,
      stderr: '',
    });
    expect(readFileSync(image, 'latin1')).toContain(`createType="${subformat}"`);
  });

  test('takes names in any case, and the short options', async () => {
    const args = ['-s', '1M', '-t', '2gbmaxextentFLAT', '-a', 'LegacyEsx'];
    expect((await vmdkfs('create', image, ...args)).stdout).toMatch(/: twoGbMaxExtentFlat, 1 MiB/);
    const text = readFileSync(image, 'utf8');
    expect(text).toMatch(/^createType="twoGbMaxExtentFlat"$/m);
    expect(text).toMatch(/^ddb\.adapterType = "legacyESX"$/m);
    expect(text).toMatch(/^RW 2048 FLAT "disk-f001\.vmdk" 0$/m);
  });

  test('makes monolithicSparse on lsilogic unless told otherwise', async () => {
    expect((await vmdkfs('create', image, '-s', '1M')).stdout).toMatch(/: monolithicSparse, 1 MiB/);
    expect(readdirSync(folder)).toEqual(['disk.vmdk']);
    expect(readFileSync(image, 'latin1')).toMatch(/^ddb\.adapterType = "lsilogic"$/m);
  });

  test('says when mounting the child will need --allow-outside', async () => {
    const base = join(folder, 'base.vmdk');
    await vmdkfs('create', base, '-s', '1M');
    mkdirSync(join(folder, 'vm'));
    const child = join(folder, 'vm', 'child.vmdk');
    expect(await vmdkfs('create', child, '-b', base, '-t', 'vmfssparse')).toEqual({
      code: 0,
      stdout: `${child}: vmfsSparse, 1 MiB (1048576 bytes), a child of ${base}\n`,
      stderr: `vmdkfs: ${base} lies outside the folder of ${child}: mounting ${child} will need --allow-outside\n`,
    });
    expect(readFileSync(child, 'utf8')).toMatch(/^parentFileNameHint="\.\.\/base\.vmdk"$/m);
    expect(await vmdkfs('create', image, '-b', base)).toMatchObject({ code: 0, stderr: '' });
  });

  test('--quiet prints errors only', async () => {
    const silent = { code: 0, stdout: '', stderr: '' };
    const base = join(folder, 'base.vmdk');
    expect(await vmdkfs('create', base, '-s', '1M', '--quiet')).toEqual(silent);
    mkdirSync(join(folder, 'vm'));
    const child = join(folder, 'vm', 'child.vmdk');
    expect(await vmdkfs('create', '-q', child, '-b', base)).toEqual(silent);
    expect(readFileSync(child, 'latin1')).toMatch(/^parentFileNameHint="\.\.\/base\.vmdk"$/m);
    expectOneLine(await vmdkfs('create', '-q', base, '-s', '1M'), 4, /base\.vmdk.*exist/);
  });

  test('fails with 1 for a command line that asks for what there is not', async () => {
    const size = ['-s', '1M'];
    await expectRefusal(
      [...size, '-t', 'qcow2'],
      1,
      /"qcow2" is not a subformat .*seSparse expect/,
    );
    await expectRefusal([...size, '-t', ''], 1, /"" is not a subformat/);
    await expectRefusal([...size, '-t', 'streamoptimized'], 1, /written once, so an empty one/);
    await expectRefusal([...size, '-a', 'nvme'], 1, /"nvme" is not an adapter \(ide, buslogic,/);
    await expectRefusal(['-t', 'vmfs'], 1, /create needs --size/);
    const flat = ['monolithicFlat', 'twoGbMaxExtentFlat', 'vmfs', 'vmfsThin', 'vmfsPreallocated'];
    for (const name of flat) {
      const args = ['-b', join(folder, 'none.vmdk'), '-t', name];
      await expectRefusal(args, 1, /--backing needs a sparse subformat .* is flat/);
    }
  });

  test('fails with 4 for a size that the kind or a descriptor cannot have', async () => {
    await expectRefusal(['-s', '2T', '-t', 'vmfsSparse'], 4, /at most 2 TiB less a sector/);
    await expectRefusal(['-s', '65T', '-t', 'seSparse'], 4, /at most 64 TiB/);
    await expectRefusal(['-s', '5P', '-t', '2GbMaxExtentSparse'], 4, /more extents than/);
  });

  test('fails with 4 where a file is in the way, and leaves it', async () => {
    await vmdkfs('create', image, '-s', '1M', '-t', 'vmfs');
    const args = ['-s', '1M', '-t', 'monolithicFlat'];
    await expectRefusal(args, 4, /disk\.vmdk: file already exists/);
    image = join(folder, 'none', 'disk.vmdk');
    expectOneLine(await vmdkfs('create', image, ...args), 4, /no such file/);
  });

  test('fails with 2 for a parent that is no image', async () => {
    const backing = join(folder, 'parent.vmdk');
    await vmdkfs('create', backing, '-s', '1M', '-t', 'vmfs');
    await expectRefusal(
      ['-b', join(folder, 'parent-flat.vmdk')],
      2,
      /holds the data of .*parent\.vmdk; use/,
    );
  });

  test('lists the subformats in its help', async () => {
    const { stdout } = await vmdkfs('create', '--help');
    for (const name of SUBFORMATS) expect(stdout).toContain(name);
    const longest = Math.max(...stdout.split('\n').map((line) => line.length));
    expect(longest).toBeLessThanOrEqual(100);
  });
});

describe.skipIf(isMissing('failures of the host in create', 'strace'))('create on a host', () => {
  /** Makes `image` while the host fails as `inject` has it. */
  function createWith(inject: string, ...args: readonly string[]): Promise<Outcome> {
    const strace = ['-f', '-qq', '-o', '/dev/null', '-e', `inject=${inject}`];
    return run('strace', [...strace, process.execPath, CLI, 'create', image, ...args]);
  }

  test('without fallocate writes zeros', async () => {
    const args = ['-s', '3M', '-t', 'vmfsPreallocated'];
    const outcome = await createWith('fallocate:error=EOPNOTSUPP', ...args);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    const { size, blocks } = statSync(join(folder, 'disk-flat.vmdk'));
    expect(size).toBe(3 * 2 ** 20);
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
    expect(readFileSync(join(folder, 'disk-flat.vmdk')).every((byte) => byte === 0)).toBe(true);
  });

  test.each([
    ['room', 'fallocate:error=ENOSPC', 'vmfsPreallocated', /disk-flat\.vmdk: no space left/],
    ['files so large', 'ftruncate:error=EFBIG', 'vmfs', /disk-flat\.vmdk: file too large/],
    ['a barrier for an extent', 'fsync:error=EIO:when=2', '2GbMaxExtentFlat', /f002\.vmdk: i\/o/],
    [
      'a barrier for the descriptor',
      'fsync:error=EIO:when=4',
      '2GbMaxExtentSparse',
      /disk\.vmdk: i/,
    ],
    ['a barrier for the folder', 'fsync:error=EIO:when=5', '2GbMaxExtentSparse', /i\/o error/],
    ['writes', 'pwrite64:error=EIO:when=3', 'seSparse', /sesparse\.vmdk: i\/o error/],
  ] as const)('without %s leaves nothing', async (_name, inject, subformat, line) => {
    const outcome = await createWith(inject, '-s', '5G', '-t', subformat);
    expectOneLine(outcome, 4, line);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('that has no barrier for folders makes the image all the same', async () => {
    const outcome = await createWith('fsync:error=EINVAL:when=2', '-s', '1M');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(image)).toBe(true);
  });
});
