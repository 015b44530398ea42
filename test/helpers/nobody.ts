import { run, type Outcome } from './run.js';

/**
 * Runs a program as a user without rights, where /dev/fuse is open to everybody as distributions
 * have it, in a mount namespace of its own. Needs root, unshare and setpriv.
 */
export function asNobody(...args: readonly string[]): Promise<Outcome> {
  return asNobodyAfter(':', ...args);
}

/** The same, after a line of the shell for which the device is /mnt/fuse. */
export function asNobodyAfter(before: string, ...args: readonly string[]): Promise<Outcome> {
  const line = [
    'mount -t tmpfs none /mnt',
    'mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse',
    before,
    'exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"',
  ].join('\n');
  return run('unshare', ['-m', 'sh', '-euc', line, 'sh', ...args]);
}
