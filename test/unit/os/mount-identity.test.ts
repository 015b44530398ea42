/** Mounts that have the place and the numbers of earlier ones. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { identify, placeOf, type Mount } from '../../../src/os/mount-identity.js';
import { findMount } from '../../../src/os/mount-table.js';
import { unmount } from '../../../src/os/unmount.js';
import { isMissing } from '../../helpers/requirements.js';
import { check, run } from '../../helpers/run.js';
import { tempFolder } from '../../helpers/temp-folder.js';

function newFolder(): string {
  const folder = join(tempFolder(), 'mnt');
  mkdirSync(folder);
  onTestFinished(async () => {
    while (findMount(folder) !== undefined) await run('umount', ['-l', folder]);
  });
  return folder;
}

/** Mounts a tmpfs, which looks like every other one. */
async function mounted(folder: string): Promise<Mount> {
  await check('mount', '-t', 'tmpfs', 'x', folder);
  return identify(findMount(folder)!);
}

test('the root is on top', () => {
  const mount = identify(findMount('/')!);
  expect(placeOf(mount)).toMatchObject({ state: 'on top', entry: { mountpoint: '/' } });
});

test('a mount that there never was is gone', () => {
  expect(placeOf({ ...identify(findMount('/')!), id: 0 })).toEqual({ state: 'gone' });
});

describe.skipIf(isMissing('mounts', 'root'))('a mount', () => {
  test('is not taken for the next one in its place', async () => {
    const folder = newFolder();
    const first = await mounted(folder);
    if (first.uniqueId === undefined) {
      console.log('SKIPPED numbers of mounts: this kernel has no statmount');
      return;
    }
    const mounts = [first];
    for (let round = 0; round < 5; round++) {
      await check('umount', folder);
      mounts.push(await mounted(folder));
    }
    expect(new Set(mounts.map(({ uniqueId }) => uniqueId)).size).toBe(6);
    expect(mounts.map((mount) => placeOf(mount).state)).toEqual([
      ...Array<string>(5).fill('gone'),
      'on top',
    ]);
    expect(await unmount(first, true)).toEqual({ outcome: 'unmounted', message: '' });
    expect(placeOf(mounts[5]!).state).toBe('on top');
    expect((await unmount(mounts[5]!, false)).outcome).toBe('unmounted');
    expect(findMount(folder)).toBeUndefined();
  });

  test('that is covered stays, and so does what covers it', async () => {
    const folder = newFolder();
    const lower = await mounted(folder);
    await check('mount', '-t', 'tmpfs', 'upper', folder);
    expect(placeOf(lower)).toMatchObject({ state: 'covered', by: { source: 'upper' } });
    expect(await unmount(lower, true)).toEqual({
      outcome: 'failed',
      message: 'upper (tmpfs) is mounted over it; unmount that first',
    });
    expect(findMount(folder)?.source).toBe('upper');
  });

  test('is found where its folder has another name', async () => {
    const folder = newFolder();
    const moved = join(folder, '../..', `${process.pid}.moved`);
    const mount = await mounted(folder);
    await check('mv', join(folder, '..'), moved);
    onTestFinished(async () => {
      await run('umount', ['-l', join(moved, 'mnt')]);
      await run('rm', ['-r', '--one-file-system', moved]);
    });
    const place = placeOf(mount);
    expect(place).toMatchObject({ state: 'on top' });
    expect((await unmount(mount, false)).outcome).toBe('unmounted');
    expect(placeOf(mount).state).toBe('gone');
  });

  test('without a number of its own is told by type and source', async () => {
    const folder = newFolder();
    const first = { ...(await mounted(folder)), uniqueId: undefined };
    expect(placeOf(first).state).toBe('on top');
    await check('umount', folder);
    await check('mount', '-t', 'tmpfs', 'y', folder);
    expect(placeOf(first)).toEqual({ state: 'gone' });
  });
});
