/**
 * An OVA appliance: a tar archive with disks in it, which are read where they lie. A disk is a file
 * that begins as a VMDK, whatever it is called.
 */
import { posix } from 'node:path';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { findFiles, type ArchiveFile } from './archive/archive-files.js';
import { descriptorText, isDisk, isNamedVmdk, otherImage } from './archive/disk-content.js';
import { isTar, readMembers } from './archive/tar-members.js';
import { NOWHERE, type FileSource } from './file-source.js';
import { replaced, type OpenedFile, type OpenedFiles } from './opened-files.js';

/** An archive and the disks in it. */
export class OvaArchive {
  readonly #files: OpenedFiles;
  readonly #file: OpenedFile;
  readonly #members: readonly ArchiveFile[];
  readonly #disks: readonly ArchiveFile[];
  /** Disks that are no VMDK: what they are, by name. */
  readonly #others: ReadonlyMap<string, string>;
  /** Names of the disks, in the order of the OVF, or of the archive where that has none. */
  readonly disks: readonly string[];
  /** What the user should know of it, a sentence each. */
  readonly notices: readonly string[];

  private constructor(files: OpenedFiles, file: OpenedFile) {
    this.#files = files;
    this.#file = file;
    const { list, notices } = findFiles(file, readMembers(file));
    this.#members = list;
    const view = (member: ArchiveFile): OpenedFile => viewOfMember(file, member);
    const texts = list.map((member) => descriptorText(view(member), member.name)).filter(Boolean);
    const images = list.filter((member) => isDisk(view(member), member.name, texts));
    this.#others = otherDisks(
      file,
      list.filter((member) => !images.includes(member)),
    );
    // Where none is one, a damaged disk still gets an error of its own.
    const named = list.filter(({ name }) => isNamedVmdk(name) && !this.#others.has(name));
    this.#disks = images.length > 0 ? images : named;
    this.disks = this.#disks.map(({ name }) => name);
    this.notices = notices;
  }

  /** Whether a file begins as a tar archive does. */
  static isArchive(file: OpenedFile): boolean {
    return isTar(file);
  }

  /**
   * Looks at the members of an archive.
   *
   * @throws VmdkError VMDK_BAD_ARCHIVE, VMDK_TRUNCATED
   */
  static read(files: OpenedFiles, file: OpenedFile): OvaArchive {
    return new OvaArchive(files, file);
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
    const member = wanted === undefined ? this.#disks[0] : this.#find(wanted);
    if (disks.length === 0 || member === undefined) this.#assertNoOther(wanted);
    if (wanted === undefined && disks.length > 1) {
      throw new VmdkError(
        'VMDK_WHICH_DISK',
        path,
        `has ${disks.length} disks: ${list}; choose one with --disk`,
      );
    }
    if (member !== undefined) return this.#sourceOf(member);
    throw new VmdkError(
      'VMDK_WHICH_DISK',
      path,
      `has no disk ${JSON.stringify(wanted)}; its disks are: ${list}`,
    );
  }

  #find(wanted: string): ArchiveFile | undefined {
    const name = posix.normalize(wanted);
    const named = this.#disks.find((each) => each.name === name);
    return named ?? (/^\d+$/.test(wanted) ? this.#disks[Number(wanted) - 1] : undefined);
  }

  /** @throws VmdkError VMDK_NO_DISK where there is no disk at all, or what is wanted is no VMDK */
  #assertNoOther(wanted: string | undefined): void {
    const name = posix.normalize(wanted ?? '');
    const kind = this.#others.get(name);
    const [first] = this.#others;
    const other = kind === undefined ? first : ([name, kind] as const);
    if (kind === undefined && this.disks.length > 0) return;
    const none = this.disks.length > 0 ? '' : 'is an archive without a VMDK disk in it';
    const reason = [none, ...(other === undefined ? [] : [describeOther(...other)])];
    throw new VmdkError('VMDK_NO_DISK', this.#file.path, reason.filter(Boolean).join(': '));
  }

  /** What a member names lies in the member's own folder, or from there on. */
  #sourceOf(member: ArchiveFile): FileSource {
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
  #open({ fault, window }: ArchiveFile, path: string): OpenedFile {
    if (fault !== undefined) throw new VmdkError('VMDK_TRUNCATED', path, fault);
    const opened = this.#files.open(this.#file.path);
    const { fd, identity } = opened;
    // The members were found in what was there before.
    if (identity !== this.#file.identity || opened.length !== this.#file.length) {
      throw replaced(this.#file.path);
    }
    const { length, offset } = window;
    return { fd, path, length, identity: `${identity}:${offset}`, window };
  }
}

/** A member to look at, as long as the archive is open. */
function viewOfMember(archive: OpenedFile, { name, window }: ArchiveFile): OpenedFile {
  const path = `${archive.path}:${name}`;
  return { ...archive, path, length: window.length, window };
}

/** Endings of the names of plain disks. */
const PLAIN_NAME = /\.(?:raw|img|hdd)$/i;

/** What those of `members` are that are disks of another kind, by name. */
function otherDisks(archive: OpenedFile, members: readonly ArchiveFile[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const member of members) {
    const { isSaidDisk, name } = member;
    const isPlain = (isSaidDisk && !isNamedVmdk(name)) || PLAIN_NAME.test(name);
    const kind = otherImage(viewOfMember(archive, member)) ?? (isPlain ? 'a raw disk' : undefined);
    if (kind !== undefined) found.set(name, kind);
  }
  return found;
}

function describeOther(name: string, kind: string): string {
  const use = kind === 'a raw disk' ? 'use it as it is' : 'convert it with qemu-img';
  return `its member ${JSON.stringify(name)} is ${kind}; take it out with tar -xf, and ${use}`;
}
