/** The folder where the servers of a user keep what others find them by. */
import { join } from 'node:path';
import { existsSync, lstatSync, mkdirSync } from '../os/host-fs.js';

/** Where it is now, for the user with `userId`; it need not exist. */
export function runtimeFolder(userId: number): string {
  if (userId === 0) return '/run/vmdkfs';
  const runtime = `/run/user/${userId}`;
  return existsSync(runtime) ? join(runtime, 'vmdkfs') : `/tmp/vmdkfs-${userId}`;
}

/** Where it may be: a user's own folder in /run comes and goes with their logins. */
export function runtimeFolders(userId: number): string[] {
  const other = userId === 0 ? [] : [`/tmp/vmdkfs-${userId}`];
  return [...new Set([runtimeFolder(userId), ...other])];
}

/**
 * Whether `folder` is the user's own: in /tmp anybody could have made it, to answer for somebody else.
 *
 * @throws the system's error where it may not be looked at
 */
export function isFolderOf(folder: string, userId: number): boolean {
  const stats = lstatSync(folder, { throwIfNoEntry: false });
  return stats !== undefined && stats.isDirectory() && stats.uid === userId;
}

/**
 * The folder of this process's user, made if need be.
 *
 * @throws where it cannot be made, or belongs to somebody else
 */
export function makeRuntimeFolder(): string {
  const userId = process.getuid?.() ?? 0;
  const folder = runtimeFolder(userId);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (isFolderOf(folder, userId)) return folder;
  throw new Error(`${folder} does not belong to user ${userId}`);
}
