/** The file that names the process of a server, as other daemons have it. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from '../os/host-fs.js';
import { Errno, toErrno } from '../errno.js';
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
    // Whoever waits for the file never finds half of it. Nobody can have laid a link there before.
    const unfinished = `${this.#path}.${randomBytes(6).toString('hex')}`;
    writeFileSync(unfinished, `${process.pid}\n`, { flag: 'wx', mode: 0o644 });
    try {
      renameSync(unfinished, this.#path);
    } catch (error) {
      rmSync(unfinished, { force: true });
      throw error;
    }
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
      throw noPidFile(this.#path);
    }
    if (isAlive(Number(text))) {
      throw new MountError(`${this.#path}: belongs to process ${text}, which is running`);
    }
  }

  /** The text of the file that is there; a link to one is none of ours. */
  #read(): string | undefined {
    let fd: number;
    try {
      fd = openSync(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (toErrno(error) === -Errno.ENOENT) return undefined;
      if (toErrno(error) === -Errno.ELOOP) throw noPidFile(this.#path);
      throw error;
    }
    try {
      const stats = fstatSync(fd);
      if (stats.isFile() && stats.size <= PID_BYTES_MAX) return readFileSync(fd, 'utf8').trim();
    } finally {
      closeSync(fd);
    }
    throw noPidFile(this.#path);
  }
}

function noPidFile(path: string): MountError {
  return new MountError(`${path}: is no pid file; choose another name`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
