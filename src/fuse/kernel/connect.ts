/** Answering INIT, the first request of a connection, before any thread serves it. */
import { viewOf } from '../../binary/struct.js';
import { Errno } from '../../errno.js';
import { DISCONNECTED, type FuseDevice } from '../../os/fuse-device.js';
import { allocatePinned } from '../../os/pinned-memory.js';
import { InHeader, InitOut, PAYLOAD } from './abi.js';
import {
  answerInit,
  REQUEST_LENGTH_MAX,
  type Agreement,
  type ConnectionWishes,
} from './negotiation.js';
import { Opcode } from './opcodes.js';
import { writeReplyHeader } from './reply-header.js';

/**
 * Negotiates with the kernel on a fresh connection, whose INIT is waiting.
 *
 * @returns undefined where the connection has ended already
 * @throws ProtocolError where the kernel is too old
 */
export function connect(device: FuseDevice, wishes: ConnectionWishes): Agreement | undefined {
  const request = allocatePinned(REQUEST_LENGTH_MAX, 0);
  const reply = allocatePinned(PAYLOAD + InitOut.byteLength, 0);
  const view = viewOf(request);
  const answer = viewOf(reply);
  const send = (error: number, length: number): void => {
    writeReplyHeader(answer, view, length, error);
    device.send(reply, length);
  };
  for (;;) {
    const length = device.receive(request);
    if (length === DISCONNECTED) return undefined;
    if (InHeader.opcode.get(view, 0) !== Opcode.INIT) {
      send(-Errno.EIO, PAYLOAD);
      continue;
    }
    try {
      const agreement = answerInit(request.subarray(0, length), reply.subarray(PAYLOAD), wishes);
      send(0, reply.length);
      if (agreement !== undefined) return agreement;
    } catch (error) {
      send(-Errno.EPROTO, PAYLOAD);
      throw error;
    }
  }
}
