/** OPEN and what is done with an open file. READ and WRITE leave no object behind. */
import { Errno } from '../../errno.js';
import { mayWrite } from '../../file-flags.js';
import { Caching, DISK_INODE } from '../file-system.js';
import {
  FallocateIn,
  InHeader,
  LseekIn,
  LseekOut,
  OpenIn,
  OpenOut,
  PAYLOAD,
  ReadIn,
  ReleaseIn,
  WriteIn,
  WriteOut,
} from './abi.js';
import type { Exchange } from './exchange.js';
import { requestKind } from '../request-counters.js';
import { OpenFlag } from './opcodes.js';
import { NO_REPLY } from './result.js';

const BODY = InHeader.byteLength;

const READ_OFFSET = ReadIn.offset;
const READ_SIZE = ReadIn.size;
const WRITE_OFFSET = WriteIn.offset;
const WRITE_SIZE = WriteIn.size;
const WRITE_MINIMUM = InHeader.byteLength + WriteIn.byteLength;

const READ = requestKind('read');
const WRITE = requestKind('write');
const FALLOCATE = requestKind('fallocate');

/**
 * OPEN. A handle has for its number what the kernel may do with the pages of the file. One that has
 * to wait for the close of another is put aside with its request.
 */
export function open(exchange: Exchange): number {
  const { fileSystem, nodeid, replyView, settings } = exchange;
  const flags = OpenIn.flags.get(exchange.requestView, BODY);
  const caching = fileSystem.open(nodeid, flags, exchange.waited);
  if (caching === -Errno.EAGAIN) {
    settings.postpone?.(exchange.request.slice(0, exchange.length));
    return NO_REPLY;
  }
  if (caching < 0) return caching;
  exchange.payload.fill(0, 0, OpenOut.byteLength);
  const backingId = nodeid === DISK_INODE ? settings.backingId : undefined;
  OpenOut.fh.set(replyView, PAYLOAD, caching);
  OpenOut.open_flags.set(replyView, PAYLOAD, openFlags(flags, caching, backingId !== undefined));
  OpenOut.backing_id.set(replyView, PAYLOAD, backingId ?? 0);
  return OpenOut.byteLength;
}

const CACHING_FLAGS: Readonly<Record<number, number>> = {
  [Caching.KEEP]: OpenFlag.KEEP_CACHE,
  [Caching.NONE]: OpenFlag.DIRECT_IO,
};

/** What the kernel may do with an open file; not ask for a flush when a reader closes it. */
function openFlags(flags: number, caching: number, isPassedThrough: boolean): number {
  const flush = mayWrite(flags) ? 0 : OpenFlag.NOFLUSH;
  if (isPassedThrough) return OpenFlag.PASSTHROUGH | flush;
  return (CACHING_FLAGS[caching] ?? 0) | flush;
}

/** RELEASE. */
export function release(exchange: Exchange): number {
  const view = exchange.requestView;
  const flags = ReleaseIn.flags.get(view, BODY);
  exchange.fileSystem.release(exchange.nodeid, flags, ReleaseIn.fh.get(view, BODY));
  return 0;
}

/** READ. */
export function read(exchange: Exchange): number {
  const { fileSystem, nodeid, payload, requestView } = exchange;
  const size = READ_SIZE.get(requestView, BODY);
  const offset = READ_OFFSET.get(requestView, BODY);
  if (size > payload.length) return -Errno.EINVAL;
  const result = fileSystem.read(nodeid, payload, size, offset);
  if (result > 0) exchange.settings.counters.addBytes(READ, result);
  return result;
}

/** WRITE. */
export function write(exchange: Exchange): number {
  const { fileSystem, nodeid, requestView, writeData } = exchange;
  const size = WRITE_SIZE.get(requestView, BODY);
  if (size > exchange.length - WRITE_MINIMUM) return -Errno.EINVAL;
  const offset = WRITE_OFFSET.get(requestView, BODY);
  const result = fileSystem.write(nodeid, writeData, size, offset);
  if (result < 0) return result;
  exchange.settings.counters.addBytes(WRITE, result);
  WriteOut.size.set(exchange.replyView, PAYLOAD, result);
  WriteOut.padding.set(exchange.replyView, PAYLOAD, 0);
  return WriteOut.byteLength;
}

/** FSYNC and FLUSH. */
export function fsync(exchange: Exchange): number {
  return exchange.fileSystem.fsync(exchange.nodeid);
}

/** FALLOCATE. */
export function fallocate(exchange: Exchange): number {
  const view = exchange.requestView;
  const mode = FallocateIn.mode.get(view, BODY);
  const offset = FallocateIn.offset.get(view, BODY);
  const length = FallocateIn.length.get(view, BODY);
  const result = exchange.fileSystem.fallocate(exchange.nodeid, mode, offset, length);
  if (result === 0) exchange.settings.counters.addBytes(FALLOCATE, length);
  return result;
}

/** LSEEK: SEEK_DATA and SEEK_HOLE; the kernel does the others by itself. */
export function lseek(exchange: Exchange): number {
  const view = exchange.requestView;
  const offset = LseekIn.offset.get(view, BODY);
  const whence = LseekIn.whence.get(view, BODY);
  const found = exchange.fileSystem.lseek(exchange.nodeid, offset, whence);
  if (found < 0) return found;
  LseekOut.offset.set(exchange.replyView, PAYLOAD, found);
  return LseekOut.byteLength;
}
