/**
 * One disk's turn: mounted again and again with 1, 4 and 8 threads, its first half is worked on by
 * fio, which verifies what it wrote, its second half holds an ext4 in a loop device.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MountServer } from '../bench/mount-server.js';
import { CLI } from '../bench/paths.js';
import { run, vmdkfs } from '../bench/programs.js';
import { FileTree } from './file-tree.js';
import { ServerHealth } from './server-health.js';
import { DISK_BYTES, type SoakDisk } from './soak-disks.js';

const WORKERS = [1, 4, 8];
const HALF = DISK_BYTES / 2;

/** Workloads on one mount. */
const WORKLOADS = 4;
const TREE_OPERATIONS = 150;

export interface Turn {
  readonly disk: SoakDisk;
  /** An empty folder of the turn's own. */
  readonly folder: string;
  /** When the turn ends, as `performance.now` has it; each number of threads has one mount at least. */
  readonly end: number;
  readonly interrupt: AbortSignal;
  readonly say: (line: string) => void;
}

/** What has to be there when the disk is mounted again. */
interface Kept {
  readonly tree: FileTree;
  /** Hash of the half without a file system. */
  firstHalf: string | undefined;
}

/** @throws Error at the first thing that is not as it should be, with nothing left mounted */
export async function takeTurn(turn: Turn): Promise<void> {
  const image = await turn.disk.make(turn.folder);
  const kept: Kept = { tree: new FileTree(), firstHalf: undefined };
  await mkdir(join(turn.folder, 'mnt'));
  await mkdir(join(turn.folder, 'ext4'));
  for (let mount = 0; mount < WORKERS.length || performance.now() < turn.end; mount++) {
    await workOnMount(turn, image, kept, mount);
    await turn.disk.check(turn.folder);
  }
}

async function workOnMount(turn: Turn, image: string, kept: Kept, mount: number): Promise<void> {
  const mountpoint = join(turn.folder, 'mnt');
  const workers = WORKERS[mount % WORKERS.length] ?? 1;
  const server = await MountServer.start({
    program: process.execPath,
    args: [CLI, 'mount', '-f', image, mountpoint, '--workers', String(workers)],
    mountpoint,
    leave: () => vmdkfs('unmount', mountpoint),
  });
  const health = new ServerHealth(server.pid);
  const disk = join(mountpoint, 'disk.raw');
  let failure: unknown;
  try {
    if (kept.firstHalf !== undefined && (await hashFirstHalf(disk)) !== kept.firstHalf) {
      throw new Error('the first half of the disk is not what it was before it was unmounted');
    }
    for (let round = 0; round < WORKLOADS; round++) {
      await run('fio', fioArguments(disk, round), turn.interrupt);
      await inLoop(turn, disk, mount + round === 0, (root) => {
        kept.tree.compare(root);
        kept.tree.work(root, TREE_OPERATIONS);
      });
      health.sample();
    }
    kept.firstHalf = await hashFirstHalf(disk);
  } catch (error) {
    failure = error;
  }
  // What went wrong first is what is thrown.
  await server.end().catch((error: unknown) => (failure ??= error));
  if (failure !== undefined) throw failure as Error;
  turn.say(`${turn.disk.name}, ${workers} threads: ${health.words()}`);
}

async function hashFirstHalf(disk: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(disk, { end: HALF - 1 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Random writes with checksums over the first half, all of them read again. */
function fioArguments(disk: string, round: number): string[] {
  return [
    ...['--name=soak', '--thread', '--ioengine=libaio', '--iodepth=8', '--direct=1'],
    ...[`--filename=${disk.replaceAll(':', '\\:')}`, '--allow_file_create=0', `--size=${HALF}`],
    ...['--io_size=64M', '--rw=randwrite', '--bsrange=4k-128k', '--blockalign=4k'],
    ...[
      '--verify=crc32c',
      '--verify_fatal=1',
      '--verify_state_save=0',
      '--fdatasync=64',
      `--randseed=${round + 1}`,
    ],
  ];
}

/** Calls `work` with the folder where the ext4 of the second half is mounted. */
async function inLoop(
  turn: Turn,
  disk: string,
  isNew: boolean,
  work: (root: string) => void,
): Promise<void> {
  const root = join(turn.folder, 'ext4');
  const device = (await run('losetup', ['-f', '--show', '-o', String(HALF), disk])).trim();
  try {
    if (isNew) await run('mkfs.ext4', ['-q', device]);
    await run('mount', ['-t', 'ext4', device, root]);
    try {
      work(root);
    } finally {
      await run('umount', [root]);
    }
    await run('e2fsck', ['-fn', device]);
  } finally {
    await run('losetup', ['-d', device]);
  }
}
