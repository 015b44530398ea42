/**
 * The files of an appliance: the members of its archive, with what the OVF among them says of each.
 */
import { posix } from 'node:path';
import {
  OVF_BYTES_MAX,
  OvfSyntaxError,
  parseOvf,
  type Ovf,
  type OvfFile,
} from '../../vmdk/machine/ovf.js';
import { readBytes } from '../find-descriptor.js';
import { isNamedVmdk } from './disk-content.js';
import type { OpenedFile } from '../opened-files.js';
import { joinChunks, type WholeFile } from './chunks.js';
import type { Member } from './tar-members.js';

/** A file of an appliance. */
export interface ArchiveFile extends WholeFile {
  /** What the OVF says of it. */
  readonly said: OvfFile | undefined;
  /** Whether the OVF says that it is a disk. */
  readonly isSaidDisk: boolean;
}

/** The files of an appliance. */
export interface ArchiveFiles {
  /** The disks of the OVF first, then its other files, then what it does not name, `.vmdk` first. */
  readonly list: readonly ArchiveFile[];
  /** What the user should know, a sentence each. */
  readonly notices: readonly string[];
}

/**
 * Finds the files of the archive `file`, which has `members`.
 *
 * @throws VmdkError VMDK_BAD_ARCHIVE where its OVF is more than an appliance needs
 */
export function findFiles(file: OpenedFile, members: readonly Member[]): ArchiveFiles {
  const notices: string[] = [];
  const ovf = findOvf(file, members, notices);
  const entries = ovf === undefined ? [] : new Set([...ovf.disks, ...ovf.files]);
  const disks = new Set(ovf?.disks);
  const whole = joinChunks(members);
  const byName = new Map(whole.map((member) => [member.name, member] as const).toReversed());
  const list = new Map<WholeFile, ArchiveFile>();
  for (const said of entries) {
    const member = namesOf(said.href, ovf?.name ?? '').flatMap((name) => byName.get(name) ?? [])[0];
    if (member === undefined || list.has(member)) continue;
    list.set(member, withSize({ ...member, said, isSaidDisk: disks.has(said) }, said));
  }
  const isNamed = (member: WholeFile): boolean => isNamedVmdk(member.name);
  const others = [...whole.filter(isNamed), ...whole.filter((member) => !isNamed(member))];
  for (const member of others) {
    if (!list.has(member)) list.set(member, { ...member, said: undefined, isSaidDisk: false });
  }
  return { list: [...list.values()], notices };
}

/** Whether the last pieces of a file are there, only the OVF knows. */
function withSize(file: ArchiveFile, { size = 0 }: OvfFile): ArchiveFile {
  const { fault, pieces, said, window } = file;
  if (pieces === undefined || fault !== undefined || said?.isGzip === true) return file;
  if (window.length >= size) return file;
  const found = `its ${pieces.length} pieces have ${window.length} bytes of ${size}`;
  return { ...file, fault: `${found}; the last are not in the archive` };
}

/** The OVF of an archive is its first member that is called so. */
function findOvf(
  file: OpenedFile,
  members: readonly Member[],
  notices: string[],
): (Ovf & { readonly name: string }) | undefined {
  const member = members.find(({ name }) => /\.ovf$/i.test(name));
  if (member === undefined) return undefined;
  const { name, window } = member;
  const path = `${file.path}:${name}`;
  // One byte more shows that it is too long.
  const length = Math.min(window.length, OVF_BYTES_MAX + 1);
  try {
    return { ...parseOvf(readBytes({ ...file, window }, 0, length), path), name };
  } catch (error) {
    if (!(error instanceof OvfSyntaxError)) throw error;
    notices.push(
      `${path}: is no OVF (${error.message}); the disks are listed as they lie in the archive`,
    );
    return undefined;
  }
}

/** What `href` may be called in the archive, from the OVF on. */
function namesOf(href: string, ovf: string): string[] {
  return [href, decoded(href)].map((name) => posix.join(posix.dirname(ovf), name));
}

function decoded(href: string): string {
  try {
    return decodeURIComponent(href);
  } catch {
    return href;
  }
}
