import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { run } from './run.js';
import { tempFolder } from './temp-folder.js';
import { until, within } from './until.js';

/** How calls fail from now on; see `fault-server.js`. */
export interface Faults {
  readonly write?: { readonly errno?: number; readonly after?: number; readonly short?: number };
  readonly fsync?: { readonly errno?: number; readonly after?: number; readonly loses?: boolean };
}

const SERVER = fileURLToPath(new URL('fault-server.js', import.meta.url));
const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

/** Time to start, and to answer and stop, on a machine that is busy; milliseconds. */
const START_MS = 120_000;
const STOP_MS = 120_000;

/** A folder whose files can be used through storage that fails on command. */
export class FaultyStorage {
  /** The files as they are on disk. */
  readonly store: string;
  /** The same files through the storage. */
  readonly folder: string;
  readonly #control: string;
  #server: ChildProcess | undefined;

  constructor() {
    const folder = tempFolder();
    this.store = join(folder, 'store');
    this.folder = join(folder, 'faulty');
    this.#control = join(folder, 'control');
    mkdirSync(this.store);
    mkdirSync(this.folder);
    this.set({});
  }

  /** Serves the files that are in the store now. */
  async serve(): Promise<void> {
    const args = [SERVER, this.store, this.folder, this.#control, DIST];
    const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#server = server;
    onTestFinished(async () => {
      // Its end aborts the connection: whoever hangs in it goes on with an error.
      server.kill('SIGKILL');
      await run('umount', ['-q', '-l', this.folder]);
    });
    const started = Promise.race([once(server.stdout, 'data'), once(server, 'exit')]);
    await within('the faulty storage is mounted', START_MS, started);
    if (server.exitCode !== null) throw new Error('the faulty storage could not be mounted');
    // The first close teaches the kernel that closing asks nothing of this storage.
    for (const name of readdirSync(this.store))
      await (await open(join(this.folder, name), 'r+')).close();
  }

  set(faults: Faults): void {
    const next = `${this.#control}.next`;
    writeFileSync(next, JSON.stringify(faults));
    renameSync(next, this.#control);
  }

  /** Calls do not return any more; the server holds none of them. */
  async hang(): Promise<void> {
    if (!(await this.#stop('.hang'))) throw new Error('the faulty storage did not stop');
  }

  /**
   * The same while something that was written waits for its sync.
   *
   * @returns whether there is such a thing; nothing hangs if not
   */
  hangUnsynced(): Promise<boolean> {
    return this.#stop('.hang-unsynced');
  }

  async #stop(name: string): Promise<boolean> {
    const asked = stat(join(this.folder, name)).then(
      () => undefined,
      (error: unknown) => (error as NodeJS.ErrnoException).code,
    );
    const answer = await within('the faulty storage answers', STOP_MS, asked);
    if (answer !== 'ENOENT') return false;
    const pid = this.#server?.pid ?? 0;
    await until('the faulty storage has stopped', STOP_MS, () => stateOf(pid) === 'T');
    return true;
  }

  /** Calls return again. */
  goOn(): void {
    this.#server?.kill('SIGCONT');
  }
}

/** The letter of a process's state in /proc. */
function stateOf(pid: number): string | undefined {
  return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
}
