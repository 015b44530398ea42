/** What other programs that start a mount want of it: to know when it is ready, its process, its log. */
import { closeSync, writeSync } from 'node:fs';
import type { Command } from 'commander';
import { absolutePath } from '../os/host-fs.js';
import { describeError } from '../errno.js';
import { UsageError } from '../mount/mount-error.js';
import type { MountOptions } from '../mount/mount-options.js';
import type { MountRequest } from '../mount/mount-request.js';
import { closeOnExec, isGivenForWriting } from '../os/inherited-descriptors.js';
import { complain } from './output.js';

export interface ServiceFlags {
  readonly pidFile?: string;
  readonly readyFd?: number;
  readonly log?: string;
}

/** Adds the options to a command. */
export function addServiceOptions(command: Command): void {
  command
    .option('--pid-file <file>', 'write the id of the server there, for as long as it is ready')
    .option(
      '--ready-fd <n>',
      'write a newline to this descriptor when the mount answers, and close it',
      parseDescriptor,
    )
    .option(
      '--log <file>',
      'append what the server says to this file, once it is ready (default: the system log)',
    );
}

/** @throws UsageError */
function parseDescriptor(text: string): number {
  if (/^\d{1,6}$/.test(text) && Number(text) > 2) return Number(text);
  throw new UsageError(`${JSON.stringify(text)} is not a descriptor (3 or more expected)`);
}

/** The files that either form of the options names; absolute, because a server changes its folder. */
export function serviceFiles(
  options: MountOptions,
  flags: ServiceFlags,
): Pick<MountRequest, 'pidFile' | 'log'> {
  const pidFile = options.pidFile ?? flags.pidFile;
  const log = options.log ?? flags.log;
  return {
    pidFile: pidFile === undefined ? undefined : absolutePath(pidFile),
    log: log === undefined ? undefined : absolutePath(log),
  };
}

/** The descriptor on which somebody waits for the mount. */
export class ReadyDescriptor {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
    // Whoever reads to the end must not have to wait for our helpers too.
    closeOnExec(fd);
  }

  /** @throws UsageError where the caller has not opened it */
  static of({ readyFd }: ServiceFlags): ReadyDescriptor | undefined {
    if (readyFd === undefined) return undefined;
    if (!isGivenForWriting(readyFd))
      throw new UsageError(`descriptor ${readyFd} is not open for writing`);
    return new ReadyDescriptor(readyFd);
  }

  /** Says that the mount answers. */
  say(): void {
    try {
      writeSync(this.#fd, '\n');
      closeSync(this.#fd);
    } catch (error) {
      complain(`vmdkfs: descriptor ${this.#fd}: ${describeError(error)}`);
    }
  }
}
