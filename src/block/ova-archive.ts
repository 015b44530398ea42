/**
 * An OVA appliance: a tar archive with disks in it, which are read where they lie. Only the headers
 * of its members are looked at, each at the end of the one before.
 */
import { posix } from 'node:path';
import { Header } from 'tar/header';
import { Pax } from 'tar/pax';
import { viewOf } from '../binary/struct.js';
import { looksLikeDescriptor } from '../vmdk/descriptor.js';
import { DESCRIPTOR_BYTES_MAX, SECTOR_BYTES } from '../vmdk/limits.js';
import { SPARSE_MAGICNUMBER, SparseExtentHeader } from '../vmdk/sparse-extent-header.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { readBytes } from './find-descriptor.js';
import { NOWHERE, type FileSource } from './file-source.js';
import { replaced, type OpenedFile, type OpenedFiles } from './opened-files.js';

const BLOCK_BYTES = 512;

/** Members of an archive, at most: an appliance has a handful. */
const MEMBERS_MAX = 10_000;

/** Longest name record, bytes. */
const RECORD_BYTES_MAX = 64 * 1024;

/** A file in an archive; bytes. */
interface Member {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
}

/** An archive and the disks in it. */
export class OvaArchive {
  readonly #files: OpenedFiles;
  readonly #file: OpenedFile;
  readonly #members: readonly Member[];
  readonly #disks: readonly Member[];
  /** Names of the disks, in the order of the archive. */
  readonly disks: readonly string[];

  private constructor(files: OpenedFiles, file: OpenedFile, members: readonly Member[]) {
    this.#files = files;
    this.#file = file;
    this.#members = members;
    const named = members.filter(({ name }) => /\.vmdk$/i.test(name));
    const texts = named.map((member) => textOf(file, member));
    const images = named.filter(
      (member, index) => texts[index] !== '' || isSparseImage(file, member, texts),
    );
    // Where none is one, a damaged disk still gets an error of its own.
    this.#disks = images.length > 0 ? images : named;
    this.disks = this.#disks.map(({ name }) => name);
  }

  /** Whether a file begins as a tar archive does. */
  static isArchive(file: OpenedFile): boolean {
    if (file.length < BLOCK_BYTES) return false;
    const block = readBytes(file, 0, BLOCK_BYTES);
    return block.toString('latin1', 257, 262) === 'ustar';
  }

  /**
   * Lists the members of an archive.
   *
   * @throws VmdkError VMDK_BAD_ARCHIVE, VMDK_TRUNCATED
   */
  static read(files: OpenedFiles, file: OpenedFile): OvaArchive {
    return new OvaArchive(files, file, readMembers(file));
  }

  /**
   * The disk that `wanted` means, its number from 1 or its name; the only one where it is undefined.
   *
   * @throws VmdkError VMDK_WHICH_DISK, VMDK_NO_DISK
   */
  disk(wanted: string | undefined): FileSource {
    const { disks } = this;
    const { path } = this.#file;
    const list = disks.map((name, index) => `${index + 1} ${name}`).join(', ');
    if (disks.length === 0) {
      throw new VmdkError('VMDK_NO_DISK', path, 'is an archive without a VMDK disk in it');
    }
    if (wanted === undefined && disks.length > 1) {
      throw new VmdkError(
        'VMDK_WHICH_DISK',
        path,
        `has ${disks.length} disks: ${list}; choose one with --disk`,
      );
    }
    const index = /^\d+$/.test(wanted ?? '1') ? Number(wanted ?? '1') - 1 : -1;
    const name = posix.normalize(wanted ?? '');
    const member = this.#disks.find((each) => each.name === name) ?? this.#disks[index];
    if (member !== undefined) return this.#sourceOf(member);
    throw new VmdkError(
      'VMDK_WHICH_DISK',
      path,
      `has no disk ${JSON.stringify(wanted)}; its disks are: ${list}`,
    );
  }

  /** What a member names lies in the member's own folder, or from there on. */
  #sourceOf(member: Member): FileSource {
    const path = `${this.#file.path}:${member.name}`;
    return {
      path,
      readOnlyReason: 'it is inside an archive',
      member: member.name,
      open: () => this.#open(member, path),
      find: (name) => {
        const wanted = posix.join(posix.dirname(member.name), name);
        const found = this.#members.find((each) => each.name === wanted);
        return found === undefined ? undefined : this.#sourceOf(found);
      },
      searchPlaces: () => NOWHERE,
      at: () => this.#sourceOf(member),
    };
  }

  /** Each member has a descriptor of its own, to be closed by its user. */
  #open(member: Member, path: string): OpenedFile {
    const opened = this.#files.open(this.#file.path);
    const { fd, identity } = opened;
    // The members were found in what was there before.
    if (identity !== this.#file.identity || opened.length !== this.#file.length) {
      throw replaced(this.#file.path);
    }
    const { length, offset } = member;
    return { fd, path, length, identity: `${identity}:${offset}`, window: { offset, length } };
  }
}

/** The text of a member that is a descriptor; empty for another. */
function textOf(file: OpenedFile, { length, offset }: Member): string {
  const head = readBytes(file, offset, Math.min(length, SECTOR_BYTES)).toString('latin1');
  if (!looksLikeDescriptor(head)) return '';
  return readBytes(file, offset, Math.min(length, DESCRIPTOR_BYTES_MAX)).toString('latin1');
}

/** Whether a member is the sparse file of a disk, and not an extent that one of `descriptors` names. */
function isSparseImage(
  file: OpenedFile,
  { length, name, offset }: Member,
  descriptors: readonly string[],
): boolean {
  if (length < SECTOR_BYTES) return false;
  const head = readBytes(file, offset, SECTOR_BYTES);
  if (head.readUInt32LE() !== SPARSE_MAGICNUMBER) return false;
  const descriptorOffset = SparseExtentHeader.descriptorOffset.get(viewOf(head), 0) * SECTOR_BYTES;
  if (descriptorOffset === 0 || descriptorOffset + SECTOR_BYTES > length) {
    return descriptorOffset !== 0;
  }
  // QEMU leaves room for a descriptor in each extent of a split disk, and writes none.
  if (readBytes(file, offset + descriptorOffset, 1)[0] !== 0) return true;
  return !descriptors.some((text) => text.includes(`"${posix.basename(name)}"`));
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

/** Walks over the headers. */
function readMembers(file: OpenedFile): Member[] {
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
        members.push({ name: posix.normalize(header.path ?? ''), offset, length });
      extended = undefined;
    }
    if (members.length > MEMBERS_MAX) throw tooMany(file);
    at = offset + Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return members;
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
