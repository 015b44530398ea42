/** The folder where the servers of a user keep what others find them by. */
import { existsSync, lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where it is, for the user with `userId`; it need not exist. */
export function runtimeFolder(userId: number): string {
  if (userId === 0) return '/run/vmdkfs';
  const runtime = `/run/user/${userId}`;
  return existsSync(runtime) ? join(runtime, 'vmdkfs') : `/tmp/vmdkfs-${userId}`;
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
  const stats = lstatSync(folder);
  if (!stats.isDirectory() || stats.uid !== userId) {
    throw new Error(`${folder} does not belong to user ${userId}`);
  }
  return folder;
}
