/** The file that names the process of a server, as other daemons have it. */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { MountError } from './mount-error.js';

const PID_BYTES_MAX = 64;

export class PidFile {
  readonly #path: string;

  /**
   * @param path absolute
   * @throws MountError where the file belongs to a process that lives, or to something else;
   *   the system's error where its folder does not exist
   */
  constructor(path: string) {
    this.#path = path;
    statSync(dirname(path));
    this.#assertFree();
  }

  /**
   * Writes the id of this process.
   *
   * @throws the system's error
   */
  write(): void {
    this.#assertFree();
    // Whoever waits for the file never finds half of it.
    const unfinished = `${this.#path}.${process.pid}`;
    writeFileSync(unfinished, `${process.pid}\n`, { mode: 0o644 });
    renameSync(unfinished, this.#path);
  }

  /** Removes the file where it is still this process's. */
  remove(): void {
    try {
      if (this.#read() === String(process.pid)) rmSync(this.#path);
    } catch {
      // The folder may have become read-only; a dead process's file keeps nobody out.
    }
  }

  #assertFree(): void {
    const text = this.#read();
    if (text === undefined || text === '') return;
    if (!/^[1-9]\d{0,9}$/.test(text)) {
      throw new MountError(`${this.#path}: is no pid file; choose another name`);
    }
    if (isAlive(Number(text))) {
      throw new MountError(`${this.#path}: belongs to process ${text}, which is running`);
    }
  }

  #read(): string | undefined {
    const stats = statSync(this.#path, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    if (stats.isFile() && stats.size <= PID_BYTES_MAX) {
      return readFileSync(this.#path, 'utf8').trim();
    }
    throw new MountError(`${this.#path}: is no pid file; choose another name`);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
