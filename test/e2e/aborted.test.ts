/**
 * A connection that is aborted, as an administrator does with a mount that hangs: the image is closed
 * as after an unmount, and no dead mount is left.
 */
import { open } from 'node:fs/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { readMountTable } from '../../src/os/mount-table.js';
import { serveInForeground, type Foreground } from '../helpers/foreground.js';
import { newImage } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, shell, vmdkfs } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until, within } from '../helpers/until.js';

const MIB = 1024 * 1024;

/** Time for what takes a moment, on a machine that is busy. */
const LATE_MS = 50_000;

/** The number of the connection behind `mountpoint`: the minor number of the mount's device. */
function connectionOf(mountpoint: string): string {
  const entries = readMountTable().filter((entry) => entry.mountpoint === mountpoint);
  expect(entries.map(({ type }) => type)).toEqual(['fuse.vmdkfs']);
  const minor = /^0:(\d+)$/.exec(entries[0]?.device ?? '')?.[1];
  if (minor === undefined) throw new Error(`${mountpoint} is on no device of FUSE`);
  return minor;
}

/** Aborts one connection, through a fusectl of its own in a mount namespace of its own. */
async function abort(connection: string): Promise<void> {
  const line = 'mount -t fusectl none "$1"; echo 1 > "$1/$2/abort"';
  const inside = ['sh', '-euc', line, 'sh', tempFolder(), connection];
  await check('unshare', '--mount', '--propagation', 'private', ...inside);
}

/** Forces the mount off, which aborts its connection; it stays, because it is busy. */
async function force(mountpoint: string): Promise<void> {
  await shell('umount -f "$1" 2>/dev/null || test $? = 32', mountpoint);
}

/** A server that has looked at its own mount, and serves. */
async function serve(image: string, transport: string): Promise<Foreground> {
  const server = await serveInForeground(image, ['-d', '--transport', transport]);
  await until('the server serves', LATE_MS, () => server.stderr.includes(' is mounted on '));
  return server;
}

const needs = isMissing('an aborted connection', 'fuse', 'root', 'unshare');
describe.skipIf(needs)('an aborted connection', () => {
  test.each([
    ['kernel', 'fusectl'],
    ['libfuse', 'fusectl'],
    ['kernel', 'umount -f'],
    ['libfuse', 'umount -f'],
  ])('over %s, by %s: the image is closed and the mount is gone', async (transport, way) => {
    const image = await newImage('64M');
    const server = await serve(image, transport);
    const handle = await open(server.disk, 'r+');
    onTestFinished(() => handle.close().catch(() => undefined));
    const bytes = pattern(2 * MIB, 7);
    await handle.write(bytes, 0, MIB, 3 * MIB);
    await handle.datasync();
    // Received, but not flushed by anybody.
    await handle.write(bytes, MIB, MIB, 4 * MIB);
    if (way === 'fusectl') await abort(connectionOf(server.mountpoint));
    else await force(server.mountpoint);
    expect([await within('the server has ended', LATE_MS, server.ended), server.stderr]).toEqual([
      0,
      expect.stringMatching(/: the connection was aborted; unmounting\n/),
    ]);
    expect(server.stderr).not.toContain('Warning');
    expect(isMountedAt(server.mountpoint)).toBe(false);
    await expect(handle.datasync()).rejects.toThrow();
    expect(inspectSparseFile(image)).toMatchObject({ uncleanShutdown: 0, problems: [] });
    expect(await vmdkfs('check', image)).toMatchObject({ code: 0, stdout: `${image}: sound\n` });
    const { device } = openImage(image, { readOnly: true });
    const found = Buffer.alloc(2 * MIB);
    device.read(found, 0, found.length, 3 * MIB);
    device.close();
    expect(found.equals(bytes)).toBe(true);
    // Nothing in the way of the next one.
    const again = await serve(image, transport);
    again.child.kill('SIGTERM');
    expect(await within('the next server has ended', LATE_MS, again.ended)).toBe(0);
  });
});
