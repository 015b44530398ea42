/**
 * What is measured: ways to get at the bytes of a disk. All but `plain` get them from the page cache
 * of the host, whatever fio asks of the mount; O_DIRECT on a plain file goes to the device itself.
 */
import { existsSync } from 'node:fs';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MountServer, type ServerPlan } from './mount-server.js';
import { CLI } from './paths.js';
import { run, vmdkfs } from './programs.js';

/** The names of all subjects, in the order of the table's columns. */
export const SUBJECT_NAMES = [
  'vmdkfs',
  'vmdkfs libfuse',
  'vmdkfs writeback',
  'vmdkfs writable',
  'qemu',
  'floor',
  'plain',
] as const;

export type SubjectName = (typeof SUBJECT_NAMES)[number];

/** A disk to open. */
interface DiskFile {
  /** The image, or a plain file. */
  readonly path: string;
  /** A folder of the benchmark's own, for mountpoints. */
  readonly folder: string;
  /** Whether vmdkfs is to mount it with `-o ro`; the others open every disk for writing. */
  readonly readOnly: boolean;
}

/** A disk that can be read and written as `file`. */
export interface OpenDisk {
  readonly file: string;
  /** Whether the file has cached pages of its own, besides those of the file it comes from. */
  readonly hasOwnCache: boolean;
  /** Unmounts; throws where the server failed, with nothing left mounted or running. */
  readonly close: () => Promise<void>;
}

export interface Subject {
  readonly name: SubjectName;
  /** What it opens: a VMDK image, or a plain file of the same size. */
  readonly form: 'image' | 'raw';
  /** Opens a disk; throws where that fails, with nothing left mounted or running. */
  readonly open: (disk: DiskFile) => Promise<OpenDisk>;
}

/**
 * All subjects.
 *
 * @param floor source of a C program `floor FILE MOUNTPOINT THREADS` that serves FILE as
 *   MOUNTPOINT/disk.raw; undefined where there is none
 */
export function allSubjects(floor: string | undefined): Subject[] {
  const kernel = ['--transport', 'kernel'];
  const readOnly = ({ readOnly }: DiskFile): string[] => (readOnly ? ['-o', 'ro'] : []);
  return [
    mounted('vmdkfs', (disk) => [...kernel, ...readOnly(disk)]),
    mounted('vmdkfs libfuse', (disk) => ['--transport', 'libfuse', ...readOnly(disk)]),
    mounted('vmdkfs writeback', () => [...kernel, '-o', 'writeback_cache']),
    mounted('vmdkfs writable', () => kernel),
    { name: 'qemu', form: 'image', open: exportWithQemu },
    { name: 'floor', form: 'raw', open: (disk) => serveFloor(floor, disk) },
    {
      name: 'plain',
      form: 'raw',
      open: ({ path: file }) =>
        Promise.resolve({ file, hasOwnCache: false, close: () => Promise.resolve() }),
    },
  ];
}

function mounted(name: SubjectName, options: (disk: DiskFile) => readonly string[]): Subject {
  return {
    name,
    form: 'image',
    open: (disk) => {
      const mountpoint = join(disk.folder, 'vmdkfs');
      // In the foreground, for its process id; it serves as it does in the background.
      const args = [CLI, 'mount', '-f', ...options(disk), disk.path, mountpoint];
      return serveFolder({
        program: process.execPath,
        args,
        mountpoint,
        leave: () => vmdkfs('unmount', mountpoint),
      });
    },
  };
}

async function serveFloor(source: string | undefined, disk: DiskFile): Promise<OpenDisk> {
  if (source === undefined) throw new Error('no --floor FILE.c was given');
  const program = join(disk.folder, 'floor-server');
  if (!existsSync(program)) await run('cc', ['-O2', '-pthread', '-o', program, source]);
  const mountpoint = join(disk.folder, 'floor');
  const threads = '2';
  return serveFolder({
    program,
    args: [disk.path, mountpoint, threads],
    mountpoint,
    leave: () => run('umount', ['--', mountpoint]),
  });
}

async function serveFolder(plan: ServerPlan): Promise<OpenDisk> {
  await mkdir(plan.mountpoint, { recursive: true });
  return serve(plan, join(plan.mountpoint, 'disk.raw'));
}

async function exportWithQemu(disk: DiskFile): Promise<OpenDisk> {
  const file = join(disk.folder, 'qemu.raw');
  // qemu-storage-daemon mounts over a regular file.
  await writeFile(file, '');
  const args = [
    ...['--blockdev', `driver=file,node-name=file,filename=${escaped(disk.path)}`],
    ...['--blockdev', 'driver=vmdk,node-name=disk,file=file'],
    '--export',
    `type=fuse,id=export,node-name=disk,mountpoint=${escaped(file)},writable=on`,
  ];
  const leave = (pid: number): boolean => process.kill(pid, 'SIGTERM');
  return serve({ program: 'qemu-storage-daemon', args, mountpoint: file, leave }, file);
}

/** A comma in a value of a QEMU option stands twice. */
function escaped(value: string): string {
  return value.replaceAll(',', ',,');
}

async function serve(plan: ServerPlan, file: string): Promise<OpenDisk> {
  const server = await MountServer.start(plan);
  const close = (): Promise<void> => server.end();
  try {
    await stat(file);
    return { file, hasOwnCache: true, close };
  } catch (error) {
    await close();
    throw error;
  }
}
