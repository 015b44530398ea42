/** Programs that the benchmark runs, and the Debian packages that have them. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { CLI } from './paths.js';

const PACKAGES: Readonly<Record<string, string>> = {
  fio: 'fio',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-storage-daemon': 'qemu-system-common',
  cc: 'gcc, with libc6-dev',
  umount: 'mount',
  losetup: 'mount',
  'mkfs.ext4': 'e2fsprogs',
  e2fsck: 'e2fsprogs',
};

/** How long to wait for a killed program. */
const KILLED_MS = 5000;

/** Says which package has `program`; undefined where it is installed. */
export function missingProgram(program: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  if (folders.some((folder) => existsSync(join(folder, program)))) return undefined;
  return `${program} is not installed (Debian package ${PACKAGES[program] ?? program})`;
}

/** What went wrong, in words. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The error of a program that could not be started. */
export function startError(program: string, error: Error): Error {
  const isMissing = 'code' in error && error.code === 'ENOENT';
  return new Error((isMissing ? missingProgram(program) : undefined) ?? error.message);
}

/**
 * Runs a program to its end; its stdout.
 *
 * @param interrupt kills the program; its reason is then thrown
 * @throws Error with what the program printed, where it fails or cannot be started
 */
export function run(
  program: string,
  args: readonly string[],
  interrupt?: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    // Detached, so that Ctrl-C at a terminal is for this process alone, which ends its children.
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      killSignal: 'SIGKILL',
      ...(interrupt === undefined ? {} : { signal: interrupt }),
    });
    let failure: Error | undefined;
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', (error) => {
      failure = startError(program, error);
      // A program that waits for a mount is gone only when the mount's server is.
      setTimeout(reject, KILLED_MS, interrupt?.reason ?? failure).unref();
    });
    child.once('close', (code, signal) => {
      if (interrupt?.aborted === true) reject(interrupt.reason as Error);
      else if (failure !== undefined) reject(failure);
      else if (code === 0) resolve(stdout);
      else {
        const ending = signal ?? `exit code ${code ?? 'unknown'}`;
        reject(new Error(`${program} ${args.join(' ')}: ${ending}\n${stdout}${stderr}`.trimEnd()));
      }
    });
  });
}

/**
 * Runs `vmdkfs` with `args` to its end.
 *
 * @throws Error with what it printed, where it fails
 */
export async function vmdkfs(...args: readonly string[]): Promise<void> {
  await run(process.execPath, [CLI, ...args]);
}
