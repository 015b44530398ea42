/** One datagram to a Unix socket, which Node's own sockets cannot send. */
import { Errno } from '../errno.js';
import { O_CLOEXEC } from '../file-flags.js';
import { closeSync } from 'node:fs';
import { libc } from './libc.js';
import { allocatePinned, pinnedAddress } from './pinned-memory.js';
import { systemCallError } from './system-call-error.js';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** `struct sockaddr_un` (unix(7)): the family and up to 108 bytes of a path. */
const FAMILY_BYTES = 2;
const PATH_BYTES_MAX = 108;

/** Longer texts are cut. */
const TEXT_BYTES_MAX = 4096;

const TEXT_AT = FAMILY_BYTES + PATH_BYTES_MAX + 2;

let memory: Uint8Array | undefined;

/**
 * Sends `text`; from any thread, and without an event loop.
 *
 * @param path of the socket; one that begins with `@` names an abstract one
 * @param waits whether to wait for a receiver that is behind, instead of giving up
 * @throws the system's error; where there is no C library for this machine
 */
export function sendDatagram(path: string, text: string, waits: boolean): void {
  const c = libc();
  memory ??= allocatePinned(TEXT_AT + TEXT_BYTES_MAX, 0);
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  if (name.length > PATH_BYTES_MAX) throw systemCallError('sendto', Errno.ENAMETOOLONG, path);
  const bytes = Buffer.from(text).subarray(0, TEXT_BYTES_MAX);
  memory.fill(0);
  memory[0] = AF_UNIX;
  memory.set(name, FAMILY_BYTES);
  memory.set(bytes, TEXT_AT);
  const fd = c.socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC, 0);
  if (fd < 0) throw systemCallError('socket', c.errno(), path);
  try {
    const address = pinnedAddress(memory) ?? 0;
    const flags = MSG_NOSIGNAL | (waits ? 0 : MSG_DONTWAIT);
    const length = FAMILY_BYTES + name.length;
    if (c.sendto(fd, address + TEXT_AT, bytes.length, flags, address, length) < 0) {
      throw systemCallError('sendto', c.errno(), path);
    }
  } finally {
    closeSync(fd);
  }
}
