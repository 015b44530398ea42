/**
 * One FUSE connection: a descriptor of /dev/fuse from which a read takes one whole request and to
 * which a write gives one whole reply. It may be used from any thread, each with its own object.
 */
import { viewOf } from '../binary/struct.js';
import { Errno } from '../errno.js';
import { libc } from './libc.js';
import { allocatePinned, pinnedAddress } from './pinned-memory.js';
import { systemCallError } from './system-call-error.js';

/** FUSE_DEV_IOC_BACKING_OPEN: _IOW(229, 1, struct fuse_backing_map), asm-generic encoding. */
const BACKING_OPEN = 0x4010e501;

/** poll(2). */
const POLLIN = 1;

/** The connection has ended: unmounted and the last handle closed, or aborted. */
export const DISCONNECTED = 0;

/** What a read says then; ECONNABORTED is for those who asked for it, and costs nothing to know. */
const HAS_ENDED: readonly number[] = [Errno.ENODEV, Errno.ECONNABORTED];

export class FuseDevice {
  readonly #fd: number;
  readonly #c = libc();
  /** `struct fuse_backing_map`: fd, flags, padding. */
  readonly #backing = allocatePinned(16, 0);
  /** `struct pollfd`: fd, events, revents. */
  readonly #poll = allocatePinned(8, 0);
  readonly #pollAddress = pinnedAddress(this.#poll) ?? 0;

  constructor(fd: number) {
    this.#fd = fd;
    viewOf(this.#poll).setInt32(0, fd, true);
    viewOf(this.#poll).setInt16(4, POLLIN, true);
  }

  /** Whether `receive` has something to say at once, as long as no other thread takes it. */
  hasRequest(): boolean {
    return this.#c.poll(this.#pollAddress, 1, 0) !== 0;
  }

  /**
   * Waits for a request and reads it into `request`, which is pinned and large enough for any.
   *
   * @returns its length in bytes, or DISCONNECTED
   * @throws the system's error where nothing can be read
   */
  receive(request: Uint8Array): number {
    const address = pinnedAddress(request) ?? 0;
    for (;;) {
      const length = this.#c.read(this.#fd, address, request.length);
      if (length > 0) return length;
      const errno = this.#c.errno();
      if (length === 0 || HAS_ENDED.includes(errno)) return DISCONNECTED;
      if (!isTransient(errno)) throw systemCallError('read', errno, '/dev/fuse');
    }
  }

  /**
   * Sends the first `length` bytes of `reply`, which is pinned.
   *
   * @returns 0, or the positive errno with which the kernel refused the reply: ENOENT where nobody
   *   waits for it any more
   */
  send(reply: Uint8Array, length: number): number {
    const address = pinnedAddress(reply) ?? 0;
    for (;;) {
      if (this.#c.write(this.#fd, address, length) >= 0) return 0;
      const errno = this.#c.errno();
      // The next read says so.
      if (errno === Errno.ENODEV) return 0;
      if (errno !== Errno.EINTR) return errno;
    }
  }

  /**
   * Registers an open file as backing for passthrough; needs CAP_SYS_ADMIN.
   *
   * @returns its backing id, good until the connection ends; undefined where the kernel refuses
   */
  openBacking(fd: number): number | undefined {
    viewOf(this.#backing).setInt32(0, fd, true);
    const address = pinnedAddress(this.#backing) ?? 0;
    const id = this.#c.ioctl(this.#fd, BACKING_OPEN, 'uintptr_t', address);
    return id > 0 ? id : undefined;
  }
}

/**
 * Whether to read again: ENOENT, the request was interrupted while it was read; EINTR, a signal;
 * EAGAIN, another thread took it.
 */
function isTransient(errno: number): boolean {
  return errno === Errno.ENOENT || errno === Errno.EINTR || errno === Errno.EAGAIN;
}
