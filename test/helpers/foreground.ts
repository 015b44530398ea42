import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { isMountedAt } from './mounted.js';
import { CLI, run } from './run.js';
import { tempFolder } from './temp-folder.js';
import { until } from './until.js';

/** A server in the foreground: a child of this process, whose end and complaints are seen. */
export class Foreground {
  readonly mountpoint: string;
  /** The path of `disk.raw`. */
  readonly disk: string;
  readonly child: ChildProcess;
  /** Exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
  stderr = '';

  constructor(child: ChildProcess, mountpoint: string) {
    this.child = child;
    this.mountpoint = mountpoint;
    this.disk = join(mountpoint, 'disk.raw');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        resolve(signal ?? code ?? -1);
      });
    });
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }
}

/**
 * Mounts `image` with a server in the foreground, which answers when this settles; both are gone
 * when the test has finished.
 *
 * @param prefix program and arguments to run the server under
 */
export async function serveInForeground(
  image: string,
  args: readonly string[] = [],
  prefix: readonly string[] = [],
): Promise<Foreground> {
  const mountpoint = join(tempFolder(), 'mnt');
  mkdirSync(mountpoint);
  const [program, ...rest] = [...prefix, process.execPath, CLI];
  const child = spawn(program, [...rest, 'mount', '-f', image, mountpoint, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const server = new Foreground(child, mountpoint);
  onTestFinished(async () => {
    if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
    child.kill('SIGKILL');
  });
  await until('the mount is there', 120_000, () => {
    if (!server.isRunning) throw new Error(`the server ended: ${server.stderr}`);
    return isMountedAt(mountpoint);
  });
  // From libuv's pool: a mount that does not answer must not block this thread.
  await stat(server.disk);
  return server;
}
