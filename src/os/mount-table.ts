/** The mounts of this process, from /proc/self/mountinfo (proc(5)); reading it touches no mount. */
import { readFileSync } from 'node:fs';
import { pathOfBytes } from '../binary/path-text.js';

export interface MountEntry {
  /** The kernel's number of the mount, which the next one may get when this one is gone. */
  readonly id: number;
  /** `major:minor` of the mounted file system, handed out again in the same way. */
  readonly device: string;
  readonly mountpoint: string;
  readonly type: string;
  readonly source: string;
  /** Who mounted it (FUSE's `user_id`); 0 where the table does not say. */
  readonly userId: number;
}

/** All mounts, oldest first. */
export function readMountTable(): MountEntry[] {
  return parseMountTable(pathOfBytes(readFileSync('/proc/self/mountinfo')));
}

/** Parses the text of a mountinfo file. */
export function parseMountTable(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const separator = line.indexOf(' - ');
    if (separator < 0) return [];
    const [id, , device = '', , mountpoint = ''] = line.slice(0, separator).split(' ');
    const [type = '', source = '', options = ''] = line.slice(separator + 3).split(' ');
    const userId = Number(/(?:^|,)user_id=(\d+)/.exec(options)?.[1] ?? 0);
    const names = { mountpoint: unescape(mountpoint), type, source: unescape(source) };
    return [{ id: Number(id), device, ...names, userId }];
  });
}

/** The mount on top at `path`, an absolute path without links, or undefined. */
export function findMount(path: string): MountEntry | undefined {
  return readMountTable().findLast((entry) => entry.mountpoint === path);
}

/** Space, tab, newline and backslash stand as octal escapes; the rest are a path's bytes. */
function unescape(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Whether `entry`, read before, is still what is mounted there, as far as the table tells. */
export function isStillMounted(entry: MountEntry): boolean {
  const now = findMount(entry.mountpoint);
  return now !== undefined && isSameEntry(now, entry);
}

/** Whether two entries, read at different times, can be of one mount, wherever that is now. */
export function isSameEntry(a: MountEntry, b: MountEntry): boolean {
  return a.id === b.id && a.device === b.device && a.type === b.type && a.source === b.source;
}

/** Whether `path` is `mountpoint` or lies below it; both without links. */
export function isOfMount(path: string, mountpoint: string): boolean {
  return path === mountpoint || path.startsWith(`${mountpoint}/`);
}
