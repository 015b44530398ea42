/** OPEN and what is done with an open file. READ and WRITE leave no object behind. */
import { Errno } from '../../errno.js';
import { mayWrite } from '../../file-flags.js';
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
import { OpenFlag } from './opcodes.js';

const BODY = InHeader.byteLength;

const READ_OFFSET = ReadIn.offset;
const READ_SIZE = ReadIn.size;
const WRITE_OFFSET = WriteIn.offset;
const WRITE_SIZE = WriteIn.size;
const WRITE_MINIMUM = InHeader.byteLength + WriteIn.byteLength;

/** OPEN. There is no state for each handle: its number is always 0. */
export function open(exchange: Exchange): number {
  const { fileSystem, nodeid, replyView, settings } = exchange;
  const flags = OpenIn.flags.get(exchange.requestView, BODY);
  const result = fileSystem.open(nodeid, flags);
  if (result < 0) return result;
  exchange.payload.fill(0, 0, OpenOut.byteLength);
  const isPassedThrough = settings.backingId !== undefined;
  OpenOut.open_flags.set(replyView, PAYLOAD, openFlags(flags, isPassedThrough));
  OpenOut.backing_id.set(replyView, PAYLOAD, settings.backingId ?? 0);
  return OpenOut.byteLength;
}

/**
 * What the kernel may do with an open file: keep its pages for the next one, as nothing but the
 * mount changes them; not ask for a flush when a reader closes it.
 */
function openFlags(flags: number, isPassedThrough: boolean): number {
  const flush = mayWrite(flags) ? 0 : OpenFlag.NOFLUSH;
  if (isPassedThrough) return OpenFlag.PASSTHROUGH | flush;
  return OpenFlag.KEEP_CACHE | flush;
}

/** RELEASE. */
export function release(exchange: Exchange): number {
  exchange.fileSystem.release(exchange.nodeid, ReleaseIn.flags.get(exchange.requestView, BODY));
  return 0;
}

/** READ. */
export function read(exchange: Exchange): number {
  const { fileSystem, nodeid, payload, requestView } = exchange;
  const size = READ_SIZE.get(requestView, BODY);
  const offset = READ_OFFSET.get(requestView, BODY);
  if (size > payload.length) return -Errno.EINVAL;
  return fileSystem.read(nodeid, payload, size, offset);
}

/** WRITE. */
export function write(exchange: Exchange): number {
  const { fileSystem, nodeid, requestView, writeData } = exchange;
  const size = WRITE_SIZE.get(requestView, BODY);
  if (size > exchange.length - WRITE_MINIMUM) return -Errno.EINVAL;
  const offset = WRITE_OFFSET.get(requestView, BODY);
  const result = fileSystem.write(nodeid, writeData, size, offset);
  if (result < 0) return result;
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
  return exchange.fileSystem.fallocate(exchange.nodeid, mode, offset, length);
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
