/** A pair of connected sockets, and the descriptor that a program sends over one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { struct, u32, u64, viewOf } from '../binary/struct.js';
import { Errno } from '../errno.js';
import { O_CLOEXEC } from '../file-flags.js';
import { libc } from './libc.js';
import { allocatePinned, pinnedAddress } from './pinned-memory.js';
import { systemCallError } from './system-call-error.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = O_CLOEXEC;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_DONTWAIT = 0x40;
/** How often we look for the message, milliseconds. */
const POLL_MS = 2;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/** `struct msghdr` on 64-bit Linux; where a C library has narrower lengths, padding follows them. */
const MessageHeader = struct('msghdr', 56, {
  name: u64,
  nameLength: u64,
  vectors: u64,
  vectorCount: u64,
  control: u64,
  controlLength: u64,
  flags: u32,
  padding: u32,
});

const IoVector = struct('iovec', 16, { base: u64, length: u64 });

/** `struct cmsghdr` with one descriptor behind it. */
const ControlMessage = struct('cmsghdr and a descriptor', 20, {
  length: u64,
  level: u32,
  type: u32,
  descriptor: u32,
});

const CONTROL_BYTES = 64;

// What the calls below are given, one behind the other in memory that stays: two descriptors, a
// message header, one vector with one byte of data, and the control part.
const PAIR = 0;
const MESSAGE = 8;
const VECTOR = MESSAGE + MessageHeader.byteLength;
const DATA = VECTOR + IoVector.byteLength;
const CONTROL = DATA + 8;

let scratch: Uint8Array | undefined;

/** The memory of the calls, its view and its address. */
function callMemory(): { view: DataView; address: number } {
  scratch ??= allocatePinned(CONTROL + CONTROL_BYTES, 0);
  return { view: viewOf(scratch), address: pinnedAddress(scratch) ?? 0 };
}

/**
 * Two connected stream sockets, which no program inherits.
 *
 * @throws the system's error
 */
export function socketPair(): { ours: number; theirs: number } {
  const c = libc();
  const { address, view } = callMemory();
  const result = c.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, address + PAIR);
  if (result < 0) throw systemCallError('socketpair', c.errno(), 'AF_UNIX');
  return { ours: view.getInt32(PAIR, true), theirs: view.getInt32(PAIR + 4, true) };
}

/**
 * Waits for a message with a descriptor on `socket`, without blocking this thread.
 *
 * @returns the descriptor; undefined when the other end closed without sending one, or nothing came
 *   in `timeout` milliseconds
 */
export async function receiveDescriptor(
  socket: number,
  timeout: number,
): Promise<number | undefined> {
  const end = performance.now() + timeout;
  while (performance.now() < end) {
    const received = tryReceive(socket);
    if (received !== 'nothing yet') return received;
    await sleep(POLL_MS);
  }
  return undefined;
}

function tryReceive(socket: number): number | undefined | 'nothing yet' {
  const c = libc();
  const { address, view } = callMemory();
  MessageHeader.vectors.set(view, MESSAGE, address + VECTOR);
  MessageHeader.vectorCount.set(view, MESSAGE, 1);
  MessageHeader.control.set(view, MESSAGE, address + CONTROL);
  MessageHeader.controlLength.set(view, MESSAGE, CONTROL_BYTES);
  IoVector.base.set(view, VECTOR, address + DATA);
  IoVector.length.set(view, VECTOR, 1);
  const count = c.recvmsg(socket, address + MESSAGE, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (count < 0) {
    const errno = c.errno();
    return errno === Errno.EAGAIN || errno === Errno.EINTR ? 'nothing yet' : undefined;
  }
  const isDescriptor =
    count > 0 &&
    ControlMessage.level.get(view, CONTROL) === SOL_SOCKET &&
    ControlMessage.type.get(view, CONTROL) === SCM_RIGHTS &&
    ControlMessage.length.get(view, CONTROL) >= ControlMessage.byteLength;
  return isDescriptor ? ControlMessage.descriptor.get(view, CONTROL) : undefined;
}
