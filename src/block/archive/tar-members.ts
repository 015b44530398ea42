/**
 * The members of a tar archive: only their headers are looked at, each at the end of the one before.
 */
import { posix } from 'node:path';
import { Header } from 'tar/header';
import { Pax } from 'tar/pax';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { readBytes } from '../find-descriptor.js';
import { windowOf, type FileWindow } from '../file-window.js';
import type { OpenedFile } from '../opened-files.js';
import {
  parseSparseRecords,
  rangesOf,
  readGnuMap,
  readMapInData,
  REGIONS_MAX,
  type SparseMap,
  type SparseRecords,
} from './sparse-map.js';

const BLOCK_BYTES = 512;

/** Members of an archive, at most: an appliance has a handful. */
const MEMBERS_MAX = 10_000;

/** Longest name record, bytes. */
const NAME_BYTES_MAX = 64 * 1024;

/** Longest pax record, bytes: that of a sparse member may have a line for each hole. */
const PAX_BYTES_MAX = 16 * 1024 * 1024;

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
  const walk = new Walk(file);
  for (let at = 0; at + BLOCK_BYTES <= file.length;) {
    const block = readBytes(file, at, BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) break;
    at = walk.take(block, at);
  }
  return walk.members;
}

/** What one header says of the next member. */
interface Extended {
  readonly pax: Pax | undefined;
  readonly sparse: SparseRecords | undefined;
}

const NOTHING: Extended = { pax: undefined, sparse: undefined };

/** A way over the headers of an archive. */
class Walk {
  readonly members: Member[] = [];
  readonly #file: OpenedFile;
  #extended = NOTHING;
  #regions = 0;

  constructor(file: OpenedFile) {
    this.#file = file;
  }

  /** Takes the header `block` at byte `at`; where the next one is. */
  take(block: Buffer, at: number): number {
    const { pax, sparse } = this.#extended;
    const header = decodeHeader(block, pax);
    if (header === undefined) throw this.#damaged(at);
    const behind = at + BLOCK_BYTES;
    const gnu = header.type === 'SparseFile' ? this.#gnuMap(block, behind) : undefined;
    const [path, size] = factsOf(header, pax);
    if (!Number.isSafeInteger(size)) throw this.#damaged(at);
    const name = sparse?.name ?? path;
    const offset = behind + (gnu?.headBytes ?? 0);
    this.#assertWhole(name, offset + size);
    if (FILES.has(header.type)) this.#add(name, offset, size, gnu);
    this.#extended = RECORDS.has(header.type) ? this.#record(header, offset, size) : NOTHING;
    return offset + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }

  #gnuMap(block: Buffer, behind: number): SparseMap {
    const map = readGnuMap(this.#file, block, behind);
    if (map === undefined) throw this.#damaged(behind - BLOCK_BYTES);
    return map;
  }

  #add(name: string, offset: number, stored: number, gnu: SparseMap | undefined): void {
    const { sparse } = this.#extended;
    const map = gnu ?? (sparse && this.#paxMap(sparse, offset, stored));
    const isSparse = gnu !== undefined || sparse !== undefined;
    const window = isSparse ? this.#window(map, offset, stored) : { offset, length: stored };
    if (window === undefined) {
      throw this.#bad(`the map of its sparse member ${JSON.stringify(name)} is damaged`);
    }
    this.members.push({ name: posix.normalize(name), window });
    if (this.members.length > MEMBERS_MAX) throw this.#bad(`has more than ${MEMBERS_MAX} members`);
  }

  #paxMap(
    { length, numbers }: SparseRecords,
    offset: number,
    stored: number,
  ): SparseMap | undefined {
    if (numbers !== undefined) return { length, numbers, headBytes: 0 };
    return readMapInData(this.#file, offset, stored, length);
  }

  #window(map: SparseMap | undefined, offset: number, stored: number): FileWindow | undefined {
    if (map === undefined) return undefined;
    this.#regions += map.numbers.length / 2;
    if (this.#regions > REGIONS_MAX) {
      throw this.#bad(`its sparse members have more than ${REGIONS_MAX} stretches of data`);
    }
    const isInData = this.#extended.sparse !== undefined;
    const head = isInData ? map.headBytes : 0;
    const ranges = rangesOf(map, offset + head, stored - head);
    return ranges && windowOf(ranges, map.length, offset);
  }

  #record(header: Header, offset: number, length: number): Extended {
    const isPax = header.type === 'ExtendedHeader';
    const most = isPax ? PAX_BYTES_MAX : NAME_BYTES_MAX;
    if (length > most) {
      throw this.#bad(`a record of ${length} bytes at byte ${offset} (at most ${most} expected)`);
    }
    const bytes = readBytes(this.#file, offset, length);
    const text = bytes.toString('utf8');
    const { pax: before, sparse } = this.#extended;
    if (isPax) return { pax: Pax.parse(text, before), sparse: parseSparseRecords(bytes) ?? sparse };
    const path = text.split('\0', 1)[0] ?? '';
    const size = before?.size;
    return { pax: new Pax(size === undefined ? { path } : { path, size }), sparse };
  }

  #assertWhole(name: string | undefined, end: number): void {
    const { length, path } = this.#file;
    if (end <= length) return;
    throw new VmdkError(
      'VMDK_TRUNCATED',
      path,
      `its member ${JSON.stringify(name)} ends at byte ${end}, but the file has only ${length} bytes; it is truncated`,
    );
  }

  #damaged(at: number): VmdkError {
    return this.#bad(`the header of member ${this.members.length + 1} at byte ${at} is damaged`);
  }

  #bad(reason: string): VmdkError {
    return new VmdkError('VMDK_BAD_ARCHIVE', this.#file.path, reason);
  }
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

/** Name and bytes of a member; what extends one of type `S` the library does not know. */
function factsOf(header: Header, pax: Pax | undefined): readonly [path: string, size: number] {
  const more = header.type === 'SparseFile' ? pax : undefined;
  return [more?.path ?? header.path ?? '', more?.size ?? header.size ?? 0];
}

/** Members that say something of the next one, and those that are files. */
const RECORDS: ReadonlySet<string> = new Set(['ExtendedHeader', 'NextFileHasLongPath']);
const FILES: ReadonlySet<string> = new Set(['File', 'OldFile', 'ContiguousFile', 'SparseFile']);
