/** The machine that is measured on: what it lacks, and what it is. */
import { accessSync, constants } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { missingProgram, run } from './programs.js';

/**
 * Makes sure that the machine has what no measurement can do without.
 *
 * @throws Error that says all that is missing
 */
export function checkMachine(): void {
  const missing = [
    ...(process.getuid?.() === 0 ? [] : ['not root, which mounting without libfuse needs']),
    ...(isAccessible('/dev/fuse') ? [] : ['no usable /dev/fuse (modprobe fuse)']),
    ...['fio', 'qemu-img', 'umount'].flatMap((program) => missingProgram(program) ?? []),
  ];
  if (missing.length > 0) throw new Error(`cannot measure here: ${missing.join('; ')}`);
}

function isAccessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Kernel, processor and versions of the programs, for the line under the table. */
export async function machineFacts(): Promise<string> {
  const cores = availableParallelism();
  return [
    `Linux ${release()}`,
    `${cores} ${cores === 1 ? 'core' : 'cores'} (${cpus()[0]?.model.trim() ?? 'unknown'})`,
    `Node ${process.versions.node}`,
    `QEMU ${await versionOf('qemu-storage-daemon')}`,
    `fio ${await versionOf('fio')}`,
  ].join(', ');
}

async function versionOf(program: string): Promise<string> {
  if (missingProgram(program) !== undefined) return 'not installed';
  const said = await run(program, ['--version']);
  return /\d+(?:\.\d+)+/.exec(said)?.[0] ?? 'unknown';
}
