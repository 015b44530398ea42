/**
 * Packs the package and installs it globally in a folder of its own, on a machine where no compiler
 * could run. The tests find what was made by the environment.
 */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, type Outcome } from '../helpers/run.js';
import { PROGRAMS, programPath, runThere, tarball } from './machine.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Called by vitest before any test; what it returns is called after all of them. */
export async function setup(): Promise<() => void> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'vmdkfs-pack-')));
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await packAndInstall(folder);
    return remove;
  } catch (error) {
    remove();
    throw error;
  }
}

async function packAndInstall(folder: string): Promise<void> {
  // Tests of ordinary users run it too.
  chmodSync(folder, 0o755);
  for (const name of ['bin', 'empty']) mkdirSync(join(folder, name));
  for (const name of PROGRAMS) symlinkSync(programPath(name), join(folder, 'bin', name));
  // As users pack it, `prepack` included, which builds.
  succeeded(await run('npm', ['pack', '--pack-destination', folder], { cwd: ROOT }));
  const file = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
  process.env['VMDKFS_PACK'] = folder;
  process.env['VMDKFS_TARBALL'] = join(folder, file);
  const prefix = join(folder, 'global');
  const args = ['install', '--global', '--prefix', prefix, tarball()];
  succeeded(await runThere(join(folder, 'empty'), 'npm', args));
  process.env['VMDKFS_CLI'] = join(prefix, 'bin/vmdkfs');
}

function succeeded({ code, stderr, stdout }: Outcome): void {
  if (code !== 0) throw new Error(`exit code ${code}\n${stdout}${stderr}`);
}
