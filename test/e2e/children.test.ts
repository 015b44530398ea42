/** What is said where writing to an image would end its children. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { writeDisk } from '../helpers/checked.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

let folder: string;
let base: string;
let child: string;

beforeEach(() => {
  folder = tempFolder();
  base = join(folder, 'base.vmdk');
  child = join(folder, 'child.vmdk');
  createImage(base, { size: MIB, backing: undefined });
  createImage(child, { size: undefined, backing: base });
});

describe.skipIf(isMissing('mounts of parents', 'fuse'))('a mount', () => {
  let mountpoint: string;

  beforeEach(() => {
    mountpoint = join(folder, 'mnt');
    mkdirSync(mountpoint);
    onTestFinished(async () => {
      if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
    });
  });

  /** What mounting says, which succeeds. */
  async function said(image: string, ...args: readonly string[]): Promise<string> {
    const { code, stderr, stdout } = await vmdkfs('mount', image, mountpoint, ...args);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
    return stderr;
  }

  test('for writing says which children no longer fit, and what is safe', async () => {
    const notice = `vmdkfs: ${base}: has a child, ${child}, that no longer fits once this disk is written; mount it with -o ro or --snapshot to leave it as it is\n`;
    expect(await said(base)).toBe(notice);
    createImage(join(folder, 'second.vmdk'), { size: undefined, backing: base });
    expect(await said(base)).toMatch(/: has 2 children, \S+ and \S+, that no longer fit once /);
    expect(await said(base, '-q')).toBe('');
  });

  test('that does not write the parent says nothing', async () => {
    expect(await said(base, '-o', 'ro')).toBe('');
    expect(await said(base, '--snapshot')).toBe('');
    expect(await said(base, '--overlay', join(folder, 'new.vmdk'))).toBe('');
    expect(await said(base, '--overlay', child)).toBe('');
    expect(await said(child)).toBe('');
  });

  test('with an overlay that has children itself says that', async () => {
    const grandchild = join(folder, 'grandchild.vmdk');
    createImage(grandchild, { size: undefined, backing: child });
    expect(await said(base, '--overlay', child)).toContain(
      `vmdkfs: ${child}: has a child, ${grandchild}, that no longer fits`,
    );
  });
});

describe('commit', () => {
  test('says which other children no longer fit, before anything is changed', async () => {
    const other = join(folder, 'other.vmdk');
    createImage(other, { size: undefined, backing: base });
    const nothing = await vmdkfs('commit', child);
    expect(nothing).toMatchObject({ code: 0, stderr: '' });
    writeDisk(child, Buffer.alloc(MIB, 3), 0);
    const notice = `vmdkfs: ${base}: has another child, ${other}, that no longer fits after this; vmdkfs convert ${child} makes an image of its own instead, and changes no parent\n`;
    expect(await vmdkfs('commit', child)).toMatchObject({ code: 0, stderr: notice });
    // It fits no longer, so nothing is lost by the next.
    writeDisk(child, Buffer.alloc(MIB, 4), 0);
    expect(await vmdkfs('commit', child)).toMatchObject({ code: 0, stderr: '' });
  });

  test.skipIf(isMissing('the order of a merge', 'strace'))(
    'says it before the parent is written',
    async () => {
      createImage(join(folder, 'other.vmdk'), { size: undefined, backing: base });
      writeDisk(child, Buffer.alloc(MIB, 3), 0);
      const before = readFileSync(base);
      // The first write that can be one to a file fails.
      const trace = ['-f', '-o', '/dev/null', '-e', 'trace=pwrite64'];
      const inject = ['-e', 'inject=pwrite64:error=EIO'];
      const args = [...trace, ...inject, process.execPath, CLI, 'commit', child];
      const { code, stderr } = await run('strace', args);
      expect(code).toBe(4);
      expect(stderr).toMatch(/^vmdkfs: \S+: has another child, .*\nvmdkfs: .*\n$/);
      expect(readFileSync(base).equals(before)).toBe(true);
    },
  );
});
