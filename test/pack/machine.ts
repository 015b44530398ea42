/** A machine with Node, npm and a shell, and nothing else: what the tests of the package run on. */
import { existsSync, realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run, type Outcome } from '../helpers/run.js';

/** All that can be found there. */
export const PROGRAMS = ['node', 'npm', 'npx', 'sh'];

/** The folder with the machine's programs, where the package is installed too. */
export function packFolder(): string {
  return process.env['VMDKFS_PACK'] ?? '';
}

/** The packed package. */
export function tarball(): string {
  return process.env['VMDKFS_TARBALL'] ?? '';
}

/** The file that is run as `name` here. */
export function programPath(name: string): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`no ${name}`);
  return realpathSync(found);
}

/** The environment there: registry, proxies and npm's cache are those of this machine. */
function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...process.env, PATH: join(packFolder(), 'bin'), ...more };
}

/** Runs a program there, in `cwd`. */
export function runThere(
  cwd: string,
  program: string,
  args: readonly string[],
  more: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  const path = join(packFolder(), 'bin', program);
  return run(path, args, { cwd, env: environment(more) });
}
