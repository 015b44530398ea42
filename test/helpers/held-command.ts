import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { CLI, type Outcome } from './run.js';
import { tempFolder } from './temp-folder.js';
import { until } from './until.js';

/** A command that stands still. */
export interface HeldCommand {
  readonly outcome: Promise<Outcome>;
  /** Lets it go on. */
  readonly release: () => void;
}

/** Where a command is to stand still: after its `count`th system call `call` on the file `path`. */
export interface HoldPoint {
  readonly call: 'openat' | 'pread64';
  readonly path: string;
  readonly count: number;
}

/** Right before the file `image` is locked: where the mark of VMware beside it is looked for. */
export function beforeLock(image: string): HoldPoint {
  return { call: 'openat', path: `${image}.lck`, count: 1 };
}

/** Starts `vmdkfs` with `args` under a tracer that stops it at `point`. Settles when it stands still. */
export async function holdCommand(
  { call, count, path }: HoldPoint,
  args: readonly string[],
): Promise<HeldCommand> {
  const log = join(tempFolder(), 'calls');
  const child = spawn(
    'strace',
    [
      ...['-f', '-o', log, '-e', `trace=${call}`, '-P', path],
      ...['-e', `inject=${call}:signal=STOP:when=${count}`],
      ...[process.execPath, CLI, ...args],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let stopped = 0;
  onTestFinished(() => {
    child.kill('SIGKILL');
    // The program dies with its tracer only where it runs.
    if (child.exitCode === null && stopped > 0) process.kill(stopped, 'SIGKILL');
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const outcome = new Promise<Outcome>((resolve) => {
    child.once('close', (code) => {
      resolve({ code: code ?? 128, stdout, stderr });
    });
  });
  await until(`the command stands still at ${path}`, 60_000, () => {
    if (child.exitCode !== null) throw new Error(`the command ended: ${stderr}`);
    const calls = existsSync(log) ? readFileSync(log, 'utf8') : '';
    stopped = Number(/^(\d+) +--- stopped by SIGSTOP ---$/m.exec(calls)?.[1] ?? 0);
    return stopped > 0;
  });
  const release = (): void => {
    process.kill(stopped, 'SIGCONT');
  };
  return { outcome, release };
}
