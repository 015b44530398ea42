/** Loop devices over the files of a mount, found without touching the mount. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { pathOfBytes } from '../binary/path-text.js';
import { isOfMount, readMountTable } from './mount-table.js';
import { runProgram } from './program.js';

export interface LoopDevice {
  /** `/dev/loop0`. */
  readonly path: string;
  /** The file under it. */
  readonly file: string;
}

/** Loop devices whose file is `mountpoint` or lies below it. */
export function loopDevicesOver(mountpoint: string): LoopDevice[] {
  return list('/sys/block').flatMap((name) => {
    const file = name.startsWith('loop') ? backingFile(name) : undefined;
    return file !== undefined && isOfMount(file, mountpoint)
      ? [{ path: `/dev/${name}`, file }]
      : [];
  });
}

/** Where a loop device, or a partition of it, is in use, in words: `mounted on /x`; or undefined. */
export function useOfLoopDevice(device: LoopDevice): string | undefined {
  const name = nameOf(device);
  const parts = [name, ...list(`/sys/block/${name}`).filter((entry) => entry.startsWith(name))];
  const folders = parts.map((part) =>
    part === name ? `/sys/block/${name}` : `/sys/block/${name}/${part}`,
  );
  const numbers = new Set(folders.map((folder) => read(`${folder}/dev`)));
  const sources = new Set(parts.map((part) => `/dev/${part}`));
  const mounted = readMountTable().find(
    (entry) => numbers.has(entry.device) || sources.has(entry.source),
  );
  if (mounted !== undefined) return `mounted on ${mounted.mountpoint}`;
  const swaps = read('/proc/swaps') ?? '';
  if (parts.some((part) => swaps.includes(`/dev/${part} `))) return 'used for swapping';
  const [above] = folders.flatMap((folder) => list(`${folder}/holders`));
  return above === undefined ? undefined : `used by /dev/${above}`;
}

/** Detaches a loop device that nobody uses; what `losetup` says where it cannot, or undefined. */
export async function detachLoopDevice(device: LoopDevice): Promise<string | undefined> {
  const outcome = await runProgram('losetup', ['-d', device.path]);
  if (outcome === undefined) return 'losetup is not installed (Debian package mount)';
  return outcome.succeeded ? undefined : outcome.message.replace(/^losetup: /, '');
}

/** Whether a loop device has still the file that it had. */
export function isAttached(device: LoopDevice): boolean {
  return backingFile(nameOf(device)) === device.file;
}

function nameOf(device: LoopDevice): string {
  return device.path.slice('/dev/'.length);
}

function backingFile(name: string): string | undefined {
  return read(`/sys/block/${name}/loop/backing_file`);
}

function read(file: string): string | undefined {
  try {
    return pathOfBytes(readFileSync(file)).replace(/\n$/, '');
  } catch {
    return undefined; // not attached, or gone
  }
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
