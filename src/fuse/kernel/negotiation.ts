/**
 * INIT: what the kernel offers and what we take of it. Every flag of the answer is one that the
 * kernel offered; what depends on a flag is left at 0 without it.
 */
import { viewOf } from '../../binary/struct.js';
import {
  FUSE_KERNEL_MINOR_MIN,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  InHeader,
  InitIn,
  InitOut,
} from './abi.js';
import { InitFlag, InitFlag2 } from './opcodes.js';

/** Largest READ and WRITE that we ask for: the most that 256 pages hold, the kernel's own limit. */
export const REQUEST_BYTES_MAX = 1024 * 1024;

/** Room for any request with its header; the kernel refuses reads into less than it may need. */
export const REQUEST_LENGTH_MAX = REQUEST_BYTES_MAX + 4096;

/** Largest request of a kernel without MAX_PAGES: 32 pages. */
const REQUEST_BYTES_SMALL = 128 * 1024;

const PAGE_BYTES = 4096;

/** Requests that the kernel may have under way for read-ahead and asynchronous I/O. */
const MAX_BACKGROUND = 64;
const CONGESTION_THRESHOLD = 48;

const WANTED =
  InitFlag.ASYNC_READ |
  InitFlag.BIG_WRITES |
  InitFlag.DO_READDIRPLUS |
  InitFlag.READDIRPLUS_AUTO |
  InitFlag.ASYNC_DIO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.MAX_PAGES |
  InitFlag.INIT_EXT;

/** What a mount would like beyond what every mount takes. */
export interface ConnectionWishes {
  readonly writebackCache: boolean;
  readonly passthrough: boolean;
}

/** What was agreed on. */
export interface Agreement {
  /** The kernel's own minor version. */
  readonly minor: number;
  /** Most bytes in a WRITE. */
  readonly maxWrite: number;
  readonly writebackCache: boolean;
  readonly passthrough: boolean;
}

/** A kernel that speaks no version of the protocol that we do. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/**
 * Answers an INIT request: fills `reply`, the part behind its header.
 *
 * @param request a whole INIT request
 * @returns what was agreed on; undefined where the kernel is to ask again with our major version
 * @throws ProtocolError for a request that is none, or a kernel that is too old
 */
export function answerInit(
  request: Uint8Array,
  reply: Uint8Array,
  wishes: ConnectionWishes,
): Agreement | undefined {
  const asked = viewOf(request);
  const base = InHeader.byteLength;
  if (request.length < base + InitIn.flags2.offset) {
    throw new ProtocolError(`the kernel's INIT has only ${request.length} bytes`);
  }
  const major = InitIn.major.get(asked, base);
  const minor = InitIn.minor.get(asked, base);
  const answer = viewOf(reply);
  reply.fill(0, 0, InitOut.byteLength);
  InitOut.major.set(answer, 0, FUSE_KERNEL_VERSION);
  InitOut.minor.set(answer, 0, Math.min(minor, FUSE_KERNEL_MINOR_VERSION));
  if (major > FUSE_KERNEL_VERSION) {
    // The kernel asks again, with our major version.
    InitOut.minor.set(answer, 0, FUSE_KERNEL_MINOR_VERSION);
    return undefined;
  }
  if (major < FUSE_KERNEL_VERSION || minor < FUSE_KERNEL_MINOR_MIN) {
    throw new ProtocolError(
      `the kernel speaks FUSE ${major}.${minor} (${FUSE_KERNEL_VERSION}.${FUSE_KERNEL_MINOR_MIN} or newer expected)`,
    );
  }
  const isExtended = minor >= InitIn.flags2.since && request.length >= base + InitIn.byteLength;
  return agree(asked, answer, { ...wishes, minor, isExtended });
}

function agree(
  asked: DataView,
  answer: DataView,
  wishes: ConnectionWishes & { readonly minor: number; readonly isExtended: boolean },
): Agreement {
  const base = InHeader.byteLength;
  const offered = InitIn.flags.get(asked, base);
  const wanted = WANTED | (wishes.writebackCache ? InitFlag.WRITEBACK_CACHE : 0);
  const flags = offered & wanted;
  const hasFlags2 = wishes.isExtended && (flags & InitFlag.INIT_EXT) !== 0;
  const offered2 = hasFlags2 ? InitIn.flags2.get(asked, base) : 0;
  const writebackCache = (flags & InitFlag.WRITEBACK_CACHE) !== 0;
  // The kernel refuses the two together.
  const wanted2 = wishes.passthrough && !writebackCache ? InitFlag2.PASSTHROUGH : 0;
  const flags2 = offered2 & wanted2;
  const passthrough = (flags2 & InitFlag2.PASSTHROUGH) !== 0;
  const hasMaxPages = (flags & InitFlag.MAX_PAGES) !== 0;
  const maxWrite = hasMaxPages ? REQUEST_BYTES_MAX : REQUEST_BYTES_SMALL;
  InitOut.max_readahead.set(answer, 0, InitIn.max_readahead.get(asked, base));
  InitOut.flags.set(answer, 0, flags);
  InitOut.flags2.set(answer, 0, flags2);
  InitOut.max_background.set(answer, 0, MAX_BACKGROUND);
  InitOut.congestion_threshold.set(answer, 0, CONGESTION_THRESHOLD);
  InitOut.max_write.set(answer, 0, maxWrite);
  InitOut.time_gran.set(answer, 0, 1);
  InitOut.max_pages.set(answer, 0, hasMaxPages ? maxWrite / PAGE_BYTES : 0);
  // One file system below ours, which is no stacked one itself.
  InitOut.max_stack_depth.set(answer, 0, passthrough ? 1 : 0);
  return { minor: wishes.minor, maxWrite, writebackCache, passthrough };
}
