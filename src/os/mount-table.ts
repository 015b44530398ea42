/** The mounts of this process, from /proc/self/mountinfo (proc(5)); reading it touches no mount. */
import { readFileSync } from 'node:fs';

export interface MountEntry {
  /** `major:minor` of the mounted file system, unique while it is mounted. */
  readonly device: string;
  readonly mountpoint: string;
  readonly type: string;
  readonly source: string;
  /** Who mounted it (FUSE's `user_id`); 0 where the table does not say. */
  readonly userId: number;
}

/** All mounts, oldest first. */
export function readMountTable(): MountEntry[] {
  return parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Parses the text of a mountinfo file. */
export function parseMountTable(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const separator = line.indexOf(' - ');
    if (separator < 0) return [];
    const [, , device = '', , mountpoint = ''] = line.slice(0, separator).split(' ');
    const [type = '', source = '', options = ''] = line.slice(separator + 3).split(' ');
    const userId = Number(/(?:^|,)user_id=(\d+)/.exec(options)?.[1] ?? 0);
    return [{ device, mountpoint: unescape(mountpoint), type, source: unescape(source), userId }];
  });
}

/** The mount on top at `path`, an absolute path without links, or undefined. */
export function findMount(path: string): MountEntry | undefined {
  return readMountTable().findLast((entry) => entry.mountpoint === path);
}

/** Space, tab, newline and backslash stand as octal escapes; the rest is UTF-8. */
function unescape(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Whether `entry`, read before, is still what is mounted there. */
export function isStillMounted({ device, mountpoint }: MountEntry): boolean {
  return findMount(mountpoint)?.device === device;
}

/** Whether `path` is `mountpoint` or lies below it; both without links. */
export function isOfMount(path: string, mountpoint: string): boolean {
  return path === mountpoint || path.startsWith(`${mountpoint}/`);
}
