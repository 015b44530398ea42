/**
 * One request and its reply. A thread has one exchange for life: the kernel's request is read into
 * its request buffer, the operation fills the payload of the reply, and READ and WRITE leave no
 * object behind.
 *
 * Whatever comes in is answered or ignored, never fatal: a request that is too short for its
 * operation, or says another length than it has, gets EINVAL, an unknown one ENOSYS.
 */
import createDebug from 'debug';
import { viewOf } from '../../binary/struct.js';
import { describeError, Errno, toErrno } from '../../errno.js';
import { allocatePinned, pinnedTail } from '../../os/pinned-memory.js';
import type { FileSystem } from '../file-system.js';
import { requestKind, type RequestCounters } from '../request-counters.js';
import { InHeader, OpenIn, OpenOut, OutHeader, PAYLOAD, WriteIn } from './abi.js';
import { REQUEST_BYTES_MAX, REQUEST_LENGTH_MAX } from './negotiation.js';
import { operationOf, type Operation } from './operations.js';
import { Opcode } from './opcodes.js';
import { writeReplyHeader } from './reply-header.js';
import { requestLine } from './request-line.js';
import { NO_REPLY } from './result.js';

const REPLY_LENGTH = PAYLOAD + REQUEST_BYTES_MAX;

const WRITE_DATA = InHeader.byteLength + WriteIn.byteLength;

/** The kernel takes replies with an error down to -511; what is below means nothing to it. */
const ERRNO_MIN = -511;

const { len, nodeid, opcode, uid } = InHeader;

/** A byte order mark is a part of a name like any other. */
const NAMES = new TextDecoder('utf-8', { ignoreBOM: true });

/** What requests are counted as that nobody knows. */
const UNKNOWN_KIND = requestKind('other');

const debug = createDebug('vmdkfs:fuse');

/** How a connection is served. */
export interface ExchangeSettings {
  /** The only user besides root who may use the mount; undefined where the kernel decides. */
  readonly onlyUser: number | undefined;
  /** Backing id of `disk.raw` for passthrough reads, or undefined. */
  readonly backingId: number | undefined;
  /**
   * Takes a request to be served again a little later, with `waited` set; undefined where nothing
   * can wait.
   */
  readonly postpone: ((request: Uint8Array) => void) | undefined;
  /** The counters of this thread. */
  readonly counters: RequestCounters;
  /** Told of failures that are ours. */
  readonly log: (message: string) => void;
}

export class Exchange {
  readonly fileSystem: FileSystem;
  readonly settings: ExchangeSettings;

  /** The request, header included; pinned. */
  readonly request: Uint8Array;
  readonly requestView: DataView;
  /** The reply, header included; pinned. */
  readonly reply: Uint8Array;
  readonly replyView: DataView;
  /** The reply behind its header; pinned. */
  readonly payload: Uint8Array;
  /** The data of a WRITE; pinned. */
  readonly writeData: Uint8Array;

  /** Length of the request in bytes, header included. */
  length = 0;
  nodeid = 0;
  /** Milliseconds since the request was served first. */
  waited: number;

  constructor(fileSystem: FileSystem, settings: ExchangeSettings) {
    this.fileSystem = fileSystem;
    this.settings = settings;
    this.waited = settings.postpone === undefined ? Infinity : 0;
    this.request = allocatePinned(REQUEST_LENGTH_MAX, WRITE_DATA);
    this.requestView = viewOf(this.request);
    this.reply = allocatePinned(REPLY_LENGTH, PAYLOAD);
    this.replyView = viewOf(this.reply);
    this.payload = pinnedTail(this.reply, PAYLOAD);
    this.writeData = pinnedTail(this.request, WRITE_DATA);
  }

  /**
   * Serves the request of `length` bytes that is in the request buffer.
   *
   * @returns length of the reply in the reply buffer, or 0 where none is to be sent
   */
  handle(length: number): number {
    if (length < InHeader.byteLength) return 0;
    const view = this.requestView;
    this.length = length;
    this.nodeid = nodeid.get(view, 0);
    const operation = operationOf(opcode.get(view, 0));
    const started = performance.now();
    const result = this.#serve(operation);
    const took = performance.now() - started;
    if (debug.enabled) debug('%s', requestLine(view, result, took));
    // One that was put aside is counted when it is served.
    if (result === NO_REPLY && operation?.isSilent !== true) return 0;
    const hasFailed = result < 0 && result !== NO_REPLY;
    this.settings.counters.add(operation?.kind ?? UNKNOWN_KIND, hasFailed, took);
    return result === NO_REPLY ? 0 : this.finish(result);
  }

  #serve(operation: Operation | undefined): number {
    if (operation === undefined) return -Errno.ENOSYS;
    if (this.length < operation.minimum || len.get(this.requestView, 0) !== this.length) {
      return operation.isSilent ? NO_REPLY : -Errno.EINVAL;
    }
    if (!this.#mayAsk(operation)) return -Errno.EACCES;
    try {
      return operation.handle(this);
    } catch (error) {
      this.settings.log(`${operation.name}: ${describeError(error)}`);
      return operation.isSilent ? NO_REPLY : Math.max(toErrno(error), ERRNO_MIN - 1);
    }
  }

  /** allow_root: others than its user and root may do what they do with a handle they were given. */
  #mayAsk(operation: Operation): boolean {
    const { onlyUser } = this.settings;
    if (onlyUser === undefined || operation.isSilent || operation.needsHandle) return true;
    const user = uid.get(this.requestView, 0);
    return user === onlyUser || user === 0;
  }

  /** Writes the header of a reply with `result`: a count of payload bytes, or a negative errno. */
  finish(result: number): number {
    const total = PAYLOAD + Math.max(0, result);
    const error = result < ERRNO_MIN ? -Errno.EIO : Math.min(0, result);
    writeReplyHeader(this.replyView, this.requestView, total, error);
    return total;
  }

  /** The last reply reached nobody: the program that asked is gone, and will never close. */
  dropped(): void {
    const isOpen = opcode.get(this.requestView, 0) === Opcode.OPEN;
    if (!isOpen || OutHeader.error.get(this.replyView, 0) !== 0) return;
    const flags = OpenIn.flags.get(this.requestView, InHeader.byteLength);
    this.fileSystem.undoOpen(this.nodeid, flags, OpenOut.fh.get(this.replyView, PAYLOAD));
  }

  /** A name in the request from byte `start` of its body on, without its closing NUL. */
  name(start: number): string {
    const from = InHeader.byteLength + start;
    const end = this.request.indexOf(0, from);
    if (end < 0 || end >= this.length) return '';
    return NAMES.decode(this.request.subarray(from, end));
  }
}
