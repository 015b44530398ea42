import { spawn, type SpawnOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** How a program ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end without blocking this thread; a signal is code 128 and its number. */
export function run(
  program: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code: code ?? 128, stdout, stderr });
    });
  });
}

/** Runs a program that has to succeed; its stdout. */
export async function check(program: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(program, args);
  if (code === 0) return stdout;
  throw new Error(`${program} ${args.join(' ')}: exit code ${code}\n${stdout}${stderr}`);
}

/** A shell line that has to succeed; `$1`, `$2` are `args`. */
export function shell(line: string, ...args: readonly string[]): Promise<string> {
  return check('sh', '-euc', line, 'sh', ...args);
}

/** The built command line program, or the installed one that VMDKFS_CLI names. */
export const CLI =
  process.env['VMDKFS_CLI'] ?? fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Runs `vmdkfs` with `args`. */
export function vmdkfs(...args: readonly string[]): Promise<Outcome> {
  return run(process.execPath, [CLI, ...args]);
}
