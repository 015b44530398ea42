/** Signals while an image is being closed, on storage that takes its time to sync. */
import { existsSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { serveInForeground, type Foreground } from '../helpers/foreground.js';
import { newImage } from '../helpers/images.js';
import { processesWith } from '../helpers/processes.js';
import { isMissing } from '../helpers/requirements.js';
import { check } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until, within } from '../helpers/until.js';

const LATE_MS = 90_000;

vi.setConfig({ testTimeout: 240_000 });

/** Each fdatasync takes so long. */
const SYNC_US = 1_000_000;
const SLOW = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=fdatasync'];
const PREFIX = [...SLOW, '-e', `inject=fdatasync:delay_enter=${SYNC_US}`];

/** The server itself; beside it there are its tracer and the helper that mounts. */
function serverOf({ mountpoint }: Foreground): number {
  const node = realpathSync(process.execPath);
  const [pid] = processesWith(mountpoint).filter(
    (each) => readlinkSync(`/proc/${each}/exe`) === node,
  );
  return pid ?? 0;
}

function hasConnection(pid: number): boolean {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).some((fd) => {
    try {
      return readlinkSync(join(folder, fd)) === '/dev/fuse';
    } catch {
      return false; // closed since the folder was read
    }
  });
}

describe.skipIf(isMissing('late signals', 'fuse', 'strace'))(
  'an image that is being closed',
  () => {
    test('is closed, and the server ends cleanly, whoever sends two signals meanwhile', async () => {
      const image = await newImage('4M');
      const pidFile = join(tempFolder(), 'pid');
      const server = await serveInForeground(image, ['--pid-file', pidFile], PREFIX);
      await until('it is ready', LATE_MS, () => existsSync(pidFile));
      const pid = serverOf(server);
      const handle = await open(server.disk, 'r+');
      await handle.write(Buffer.alloc(65536, 7), 0, 65536, 0);
      await handle.close();
      await check('fusermount3', '-u', '--', server.mountpoint);
      await until('nobody uses the mount', LATE_MS, () => !hasConnection(pid));
      process.kill(pid, 'SIGTERM');
      process.kill(pid, 'SIGINT');
      await until('it is heard', LATE_MS, () => server.stderr !== '');
      expect(await within('the server has ended', LATE_MS, server.ended)).toBe(0);
      expect(server.stderr).toMatch(
        /^vmdkfs: SIG(?:TERM|INT) again: the image is being closed; leaving in 10 s at the latest\n$/,
      );
      const { entries, problems, uncleanShutdown } = inspectSparseFile(image);
      expect([problems, uncleanShutdown]).toEqual([[], 0]);
      expect(entries.filter((entry) => entry > 1)).toHaveLength(1);
    });
  },
);
