/** A program that serves a mount, from its start until it is gone and nothing is mounted. */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { findMount } from '../../src/os/mount-table.js';
import { run, startError } from './programs.js';

const POLL_MS = 10;
const MOUNT_MS = 10_000;
/** Closing may have to write a whole image to a slow disk. */
const END_MS = 120_000;

/** How to serve a mount and how to end it. */
export interface ServerPlan {
  readonly program: string;
  readonly args: readonly string[];
  /** Appears in the mount table when the program serves; an absolute path without links. */
  readonly mountpoint: string;
  /** Makes the program unmount and leave. */
  readonly leave: (pid: number) => unknown;
}

/** A running server, ended by its process id. */
export class MountServer {
  readonly #plan: ServerPlan;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #stderr = '';
  #hasEnded = false;

  private constructor(plan: ServerPlan) {
    this.#plan = plan;
    this.#child = spawn(plan.program, plan.args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#child.once('error', (error) => {
      this.#stderr += startError(plan.program, error).message;
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#hasEnded = true;
        resolve();
      });
    });
  }

  /**
   * Starts a server; settles when its mount is in the mount table.
   *
   * @throws Error with what the server printed, with nothing left mounted or running
   */
  static async start(plan: ServerPlan): Promise<MountServer> {
    const server = new MountServer(plan);
    const deadline = Date.now() + MOUNT_MS;
    while (findMount(plan.mountpoint) === undefined) {
      if (server.#hasEnded || Date.now() > deadline) {
        await server.#kill();
        throw server.#error('did not mount');
      }
      await sleep(POLL_MS);
    }
    return server;
  }

  /** Process id of the program. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /**
   * Unmounts, and waits until the server is gone; kills one that stays.
   *
   * @throws Error with what the server printed, where it did not end as it should
   */
  async end(): Promise<void> {
    try {
      await Promise.race([this.#leave(), sleep(END_MS, undefined, { ref: false })]);
      if (!this.#hasEnded) throw this.#error(`did not end within ${END_MS / 1000} seconds`);
      if (this.#child.exitCode !== 0) throw this.#error('failed');
    } finally {
      await this.#kill();
    }
  }

  async #leave(): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined && !this.#hasEnded) await this.#plan.leave(pid);
    await this.#ended;
  }

  /** Leaves no process and no mount, whatever state they are in. */
  async #kill(): Promise<void> {
    if (!this.#hasEnded) this.#child.kill('SIGKILL');
    await this.#ended;
    const { mountpoint } = this.#plan;
    if (findMount(mountpoint) !== undefined) await run('umount', ['-l', '--', mountpoint]);
  }

  #error(what: string): Error {
    const { exitCode, signalCode } = this.#child;
    // A program that could not be started has a negative one.
    const hasExited = exitCode !== null && exitCode >= 0;
    const ending = signalCode ?? (hasExited ? `exit code ${exitCode}` : '');
    const details = [ending, this.#stderr.trim()].filter((text) => text !== '');
    return new Error([`the server ${what}`, ...details].join(': '));
  }
}
