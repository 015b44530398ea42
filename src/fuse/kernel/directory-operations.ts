/** READDIR and READDIRPLUS. The offset of an entry is its index plus one. */
import { alignUp } from '../../binary/alignment.js';
import { Errno } from '../../errno.js';
import { ROOT_INODE } from '../file-system.js';
import { Dirent, EntryOut, InHeader, OpenOut, PAYLOAD, ReadIn } from './abi.js';
import { clear, writeEntry } from './attribute-operations.js';
import type { Exchange } from './exchange.js';

const BODY = InHeader.byteLength;

/** Entries are padded to this many bytes. */
const DIRENT_ALIGNMENT = 8;

const DOT = '.'.charCodeAt(0);

/** File type in a mode, as `d_type` has it: the bits of S_IFMT, shifted. */
const MODE_TYPE_SHIFT = 12;

/** OPENDIR: the kernel opens nothing as a directory that is none. */
export function opendir(exchange: Exchange): number {
  if (exchange.nodeid !== ROOT_INODE) return -Errno.ENOTDIR;
  exchange.payload.fill(0, 0, OpenOut.byteLength);
  return OpenOut.byteLength;
}

/** READDIR. */
export function readdir(exchange: Exchange): number {
  return list(exchange, false);
}

/** READDIRPLUS: entries with their attributes. */
export function readdirplus(exchange: Exchange): number {
  return list(exchange, true);
}

function list(exchange: Exchange, withAttributes: boolean): number {
  const { fileSystem, nodeid, payload, replyView, requestView } = exchange;
  const names = fileSystem.readdir(nodeid);
  if (names === undefined) return -Errno.ENOTDIR;
  const room = Math.min(ReadIn.size.get(requestView, BODY), payload.length);
  let used = 0;
  for (let index = ReadIn.offset.get(requestView, BODY); index < names.length; index++) {
    const name = new TextEncoder().encode(names[index]);
    const entryBytes = withAttributes ? EntryOut.byteLength : 0;
    const length = entryBytes + alignUp(Dirent.byteLength + name.length, DIRENT_ALIGNMENT);
    if (used + length > room) break;
    // "." and ".." come without a look-up: the kernel knows them already.
    const isDots = name[0] === DOT;
    const nodeid = isDots ? ROOT_INODE : fileSystem.lookup(ROOT_INODE, names[index] ?? '');
    const attributes = fileSystem.getattr(nodeid);
    // A partition that has just gone.
    if (attributes === undefined) continue;
    clear(replyView, PAYLOAD + used, length);
    if (withAttributes && !isDots) writeEntry(replyView, PAYLOAD + used, nodeid, attributes);
    const dirent = PAYLOAD + used + entryBytes;
    Dirent.ino.set(replyView, dirent, attributes.ino);
    Dirent.off.set(replyView, dirent, index + 1);
    Dirent.namelen.set(replyView, dirent, name.length);
    Dirent.type.set(replyView, dirent, attributes.mode >> MODE_TYPE_SHIFT);
    payload.set(name, used + entryBytes + Dirent.byteLength);
    used += length;
  }
  return used;
}
