/** LOOKUP, GETATTR, SETATTR, STATFS. */
import { Errno } from '../../errno.js';
import { DISK_INODE, type AttributeChanges, type Attributes } from '../file-system.js';
import { Attr, AttrOut, EntryOut, InHeader, PAYLOAD, SetattrIn, StatfsOut } from './abi.js';
import type { Exchange } from './exchange.js';
import { SetattrValid } from './opcodes.js';

/** How long the kernel may keep the name of the disk, which never changes: seconds. Others: not at all. */
const DISK_ENTRY_VALID = 3600;

/** How long it may keep attributes: the size never changes, the space in use does. Seconds. */
const ATTR_VALID = 1;

const BODY = InHeader.byteLength;

/** LOOKUP: the inode of a name. */
export function lookup(exchange: Exchange): number {
  const ino = exchange.fileSystem.lookup(exchange.nodeid, exchange.name(0));
  if (ino < 0) return ino;
  const attributes = exchange.fileSystem.getattr(ino);
  if (attributes === undefined) return -Errno.ENOENT;
  writeEntry(exchange.replyView, PAYLOAD, ino, attributes);
  return EntryOut.byteLength;
}

/** GETATTR. */
export function getattr(exchange: Exchange): number {
  return writeAttributes(exchange);
}

/** SETATTR; the reply has the attributes as they are then, the size that never changes included. */
export function setattr(exchange: Exchange): number {
  const result = exchange.fileSystem.setattr(exchange.nodeid, changesOf(exchange.requestView));
  return result < 0 ? result : writeAttributes(exchange);
}

/** STATFS. */
export function statfs(exchange: Exchange): number {
  const { bfree, blocks, bsize, files, namemax } = exchange.fileSystem.statfs();
  const view = exchange.replyView;
  exchange.payload.fill(0, 0, StatfsOut.byteLength);
  StatfsOut.blocks.set(view, PAYLOAD, blocks);
  StatfsOut.bfree.set(view, PAYLOAD, bfree);
  StatfsOut.bavail.set(view, PAYLOAD, bfree);
  StatfsOut.files.set(view, PAYLOAD, files);
  StatfsOut.bsize.set(view, PAYLOAD, bsize);
  StatfsOut.frsize.set(view, PAYLOAD, bsize);
  StatfsOut.namelen.set(view, PAYLOAD, namemax);
  return StatfsOut.byteLength;
}

/** Writes a `fuse_entry_out` for the inode `nodeid` at `base`. */
export function writeEntry(
  view: DataView,
  base: number,
  nodeid: number,
  attributes: Attributes,
): void {
  clear(view, base, EntryOut.byteLength);
  EntryOut.nodeid.set(view, base, nodeid);
  EntryOut.entry_valid.set(view, base, nodeid === DISK_INODE ? DISK_ENTRY_VALID : 0);
  EntryOut.attr_valid.set(view, base, ATTR_VALID);
  writeAttr(view, base + EntryOut.attr.offset, attributes);
}

/** Makes `length` bytes at `base` zero. */
export function clear(view: DataView, base: number, length: number): void {
  new Uint8Array(view.buffer, view.byteOffset + base, length).fill(0);
}

function writeAttributes(exchange: Exchange): number {
  const attributes = exchange.fileSystem.getattr(exchange.nodeid);
  if (attributes === undefined) return -Errno.ENOENT;
  clear(exchange.replyView, PAYLOAD, AttrOut.byteLength);
  AttrOut.attr_valid.set(exchange.replyView, PAYLOAD, ATTR_VALID);
  writeAttr(exchange.replyView, PAYLOAD + AttrOut.attr.offset, attributes);
  return AttrOut.byteLength;
}

/** Writes a `fuse_attr` at `base`, where there are zeros. */
function writeAttr(view: DataView, base: number, attributes: Attributes): void {
  for (const name of ['ino', 'size', 'blocks', 'mode', 'nlink', 'uid', 'gid', 'blksize'] as const) {
    Attr[name].set(view, base, attributes[name]);
  }
  for (const name of ['atime', 'mtime', 'ctime'] as const) {
    const seconds = Math.floor(attributes[name] / 1000);
    Attr[name].set(view, base, seconds);
    Attr[`${name}nsec`].set(view, base, Math.floor((attributes[name] - seconds * 1000) * 1e6));
  }
}

function changesOf(view: DataView): AttributeChanges {
  const valid = SetattrIn.valid.get(view, BODY);
  const asks = (bit: number): boolean => (valid & bit) !== 0;
  return {
    ...(asks(SetattrValid.MODE) ? { mode: SetattrIn.mode.get(view, BODY) } : {}),
    ...(asks(SetattrValid.UID) ? { uid: SetattrIn.uid.get(view, BODY) } : {}),
    ...(asks(SetattrValid.GID) ? { gid: SetattrIn.gid.get(view, BODY) } : {}),
    ...(asks(SetattrValid.SIZE) ? { size: SetattrIn.size.get(view, BODY) } : {}),
    ...(asks(SetattrValid.MTIME_NOW | SetattrValid.MTIME) ? { mtime: modified(view, valid) } : {}),
  };
}

/** The modification time that SETATTR asks for, milliseconds since 1970. */
function modified(view: DataView, valid: number): number {
  if ((valid & SetattrValid.MTIME_NOW) !== 0) return Date.now();
  const seconds = SetattrIn.mtime.get(view, BODY);
  // A number of milliseconds is exact to a quarter of a microsecond; it must not round up a second.
  const fraction = Math.min(SetattrIn.mtimensec.get(view, BODY) / 1e6, 999.999);
  return seconds * 1000 + fraction;
}
