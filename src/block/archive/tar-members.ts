/**
 * The members of a tar archive: only their headers are looked at, each at the end of the one before.
 */
import { posix } from 'node:path';
import { Header } from 'tar/header';
import { Pax } from 'tar/pax';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { readBytes } from '../find-descriptor.js';
import type { FileWindow } from '../file-window.js';
import type { OpenedFile } from '../opened-files.js';

const BLOCK_BYTES = 512;

/** Members of an archive, at most: an appliance has a handful. */
const MEMBERS_MAX = 10_000;

/** Longest name record, bytes. */
const RECORD_BYTES_MAX = 64 * 1024;

/** A file in an archive. */
export interface Member {
  readonly name: string;
  /** Where its bytes are. */
  readonly window: FileWindow;
}

/** Whether a file begins as a tar archive does. */
export function isTar(file: OpenedFile): boolean {
  if (file.length < BLOCK_BYTES) return false;
  const block = readBytes(file, 0, BLOCK_BYTES);
  return block.toString('latin1', 257, 262) === 'ustar';
}

/**
 * Lists the files in an archive.
 *
 * @throws VmdkError VMDK_BAD_ARCHIVE, VMDK_TRUNCATED
 */
export function readMembers(file: OpenedFile): Member[] {
  const members: Member[] = [];
  let extended: Pax | undefined;
  for (let at = 0; at + BLOCK_BYTES <= file.length;) {
    const block = readBytes(file, at, BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) break;
    const header = decodeHeader(block, extended);
    const length = header?.size ?? 0;
    const offset = at + BLOCK_BYTES;
    if (header === undefined || !Number.isSafeInteger(length)) {
      throw new VmdkError(
        'VMDK_BAD_ARCHIVE',
        file.path,
        `the header of member ${members.length + 1} at byte ${at} is damaged`,
      );
    }
    if (offset + length > file.length) {
      throw new VmdkError(
        'VMDK_TRUNCATED',
        file.path,
        `its member ${JSON.stringify(header.path)} ends at byte ${offset + length}, but the file has only ${file.length} bytes; it is truncated`,
      );
    }
    if (RECORDS.has(header.type)) extended = readRecord(file, header, offset, length, extended);
    else {
      if (FILES.has(header.type))
        members.push({ name: posix.normalize(header.path ?? ''), window: { offset, length } });
      extended = undefined;
    }
    if (members.length > MEMBERS_MAX) throw tooMany(file);
    at = offset + Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return members;
}

/** A header whose checksum is right; undefined where it is not, or has numbers that cannot be. */
function decodeHeader(block: Buffer, extended?: Pax): Header | undefined {
  try {
    const header = new Header(block, 0, extended);
    return header.cksumValid ? header : undefined;
  } catch {
    return undefined;
  }
}

/** Members that say something of the next one, and those that are files. */
const RECORDS: ReadonlySet<string> = new Set(['ExtendedHeader', 'NextFileHasLongPath']);
const FILES: ReadonlySet<string> = new Set(['File', 'OldFile', 'ContiguousFile']);

function readRecord(
  file: OpenedFile,
  header: Header,
  offset: number,
  length: number,
  before: Pax | undefined,
): Pax {
  if (length > RECORD_BYTES_MAX) {
    throw new VmdkError(
      'VMDK_BAD_ARCHIVE',
      file.path,
      `a record of ${length} bytes at byte ${offset} (at most ${RECORD_BYTES_MAX} expected)`,
    );
  }
  const text = readBytes(file, offset, length).toString('utf8');
  if (header.type === 'ExtendedHeader') return Pax.parse(text, before);
  const path = text.split('\0', 1)[0] ?? '';
  const size = before?.size;
  return new Pax(size === undefined ? { path } : { path, size });
}

function tooMany(file: OpenedFile): VmdkError {
  return new VmdkError('VMDK_BAD_ARCHIVE', file.path, `has more than ${MEMBERS_MAX} members`);
}
