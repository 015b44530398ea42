/**
 * The descriptor: the text that says which extents make up a disk and who its parent is. It is
 * embedded in a monolithic sparse file or a file of its own. It is held as text with one character
 * for each byte (latin1), because files come in many encodings and only names are not ASCII; a
 * change is made in place, on the line where the parser found the value, and nothing else moves.
 */
import { formatCid, mergedCids, parseCid } from './cid.js';
import { isExtentLine, parseExtentLine, type ExtentLine } from './extent-line.js';
import { parseVirtualBoxLink, type VirtualBoxLink } from './virtualbox-link.js';
import { VmdkError } from './vmdk-error.js';

/** A `key=value` line: the value without quotes, and where its characters lie in the text. */
interface Entry {
  readonly value: string;
  readonly start: number;
}

/** What a descriptor says. */
export interface Descriptor {
  /** The text up to its end, one character for each byte. */
  readonly text: string;
  /** Whether a NUL ends the text; what stands behind it is not part of it. */
  readonly isTerminated: boolean;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly extents: readonly ExtentLine[];
  readonly createType: string;
  /** Undefined where the descriptor has none, or one that is no eight hex digits: see `cidText`. */
  readonly cid: number | undefined;
  /** As it is written; undefined where there is no line. */
  readonly cidText: string | undefined;
  /** Undefined where there is no parent (`ffffffff`, or no line), or where it cannot be read. */
  readonly parentCid: number | undefined;
  /** As it is written; undefined where it says that there is no parent. */
  readonly parentCidText: string | undefined;
  readonly parentFileNameHint: string | undefined;
  /** How VirtualBox knows the image and its parent. */
  readonly virtualBox: VirtualBoxLink;
  readonly isEncrypted: boolean;
  readonly changeTrackPath: string | undefined;
}

const KEY_LINE = /^(?<key>[A-Za-z][\w.]*)(?<equals>[ \t]*=[ \t]*)(?<value>.*)$/;
const UTF8_BOM = '\u00ef\u00bb\u00bf';
const NO_PARENT = 0xffffffff;

/**
 * Whether `text` (latin1) looks like a descriptor: its first line that is not blank is a comment
 * with `disk descriptor` in it, or one of the keys every descriptor has stands before the first NUL.
 */
export function looksLikeDescriptor(text: string): boolean {
  const end = text.indexOf('\0');
  const head = (end < 0 ? text : text.slice(0, end)).replace(UTF8_BOM, '');
  const first = head.trimStart().split(/[\r\n]/, 1)[0] ?? '';
  if (first.startsWith('#') && /diskdescriptor/i.test(first.replaceAll(/\s/g, ''))) return true;
  // Blanks only: white space that spans lines would be tried again from each of them.
  return /^[ \t]*(?:version|CID|createType)[ \t]*=/im.test(head);
}

/**
 * Parses a descriptor. Keys and words are not case-sensitive, the first of two equal keys counts,
 * lines that are neither comments, keys nor extents are passed over.
 *
 * @param text the bytes of the descriptor as latin1; it ends at the first NUL
 * @param file for messages
 * @throws VmdkError for an extent line that cannot be read
 */
export function parseDescriptor(text: string, file: string): Descriptor {
  const end = text.indexOf('\0');
  const body = end < 0 ? text : text.slice(0, end);
  const entries = new Map<string, Entry>();
  const extents: ExtentLine[] = [];
  let lineNumber = 0;
  for (const match of body.matchAll(/[^\r\n]*(?:\r\n|\r|\n|$)/g)) {
    lineNumber += 1;
    const [start, line] = trim(match[0]);
    if (line === '' || line.startsWith('#')) continue;
    if (isExtentLine(line)) {
      const extent = parseExtentLine(line, lineNumber, file);
      if (extent !== undefined) extents.push(extent);
    } else addEntry(entries, line, match.index + start);
  }
  const value = (key: string): string | undefined => entries.get(key)?.value;
  const hint = value('parentfilenamehint') === '' ? undefined : value('parentfilenamehint');
  return {
    text: body,
    isTerminated: end >= 0,
    entries,
    extents,
    createType: value('createtype') ?? '',
    cid: parseCid(value('cid')),
    cidText: value('cid'),
    ...parentOf(value('parentcid'), hint),
    parentFileNameHint: hint,
    virtualBox: parseVirtualBoxLink(entries),
    isEncrypted: isEncrypted(entries),
    changeTrackPath: value('changetrackpath'),
  };
}

/**
 * What the line of the parent's CID says. Without the parent's name 0, or what cannot be read, means
 * that there is none, as QEMU takes it.
 */
function parentOf(
  text: string | undefined,
  hint: string | undefined,
): Pick<Descriptor, 'parentCid' | 'parentCidText'> {
  const parentCid = parseCid(text);
  const isNone = parentCid === NO_PARENT || (hint === undefined && !parentCid);
  return isNone
    ? { parentCid: undefined, parentCidText: undefined }
    : { parentCid, parentCidText: text };
}

/** Workstation names its keys; ESXi names the filter through which a disk has to be read. */
function isEncrypted(entries: ReadonlyMap<string, Entry>): boolean {
  const keys = ['encryptionkeys', 'keyid', 'encrypteddict.data', 'ddb.encryption'];
  if (keys.some((key) => entries.has(key))) return true;
  return /vmcrypt/i.test(entries.get('ddb.iofilters')?.value ?? '');
}

/**
 * A line without white space around it, and where it begins. Only ASCII white space counts: other
 * kinds are bytes of some name here. A BOM is white space too.
 */
function trim(raw: string): [start: number, line: string] {
  const isSpace = (at: number): boolean => ' \t\v\f\r\n'.includes(raw.charAt(at));
  let start = raw.startsWith(UTF8_BOM) ? UTF8_BOM.length : 0;
  let end = raw.length;
  while (start < end && isSpace(start)) start += 1;
  while (start < end && isSpace(end - 1)) end -= 1;
  return [start, raw.slice(start, end)];
}

function addEntry(entries: Map<string, Entry>, line: string, start: number): void {
  const groups = KEY_LINE.exec(line)?.groups;
  if (groups === undefined) return;
  const key = groups['key'] ?? '';
  const quoted = groups['value'] ?? '';
  const valueStart = start + key.length + (groups['equals'] ?? '').length;
  const inQuotes = /^"([^"]*)"/.exec(quoted)?.[1];
  if (entries.has(key.toLowerCase())) return;
  entries.set(key.toLowerCase(), {
    value: inQuotes ?? quoted,
    start: inQuotes === undefined ? valueStart : valueStart + 1,
  });
}

/** A change of a descriptor's bytes: `text` (latin1) belongs at `start`, in bytes. */
export interface DescriptorChange {
  readonly start: number;
  readonly text: string;
}

/**
 * What to write so that the descriptor's CID becomes `cid`: eight hex digits in the CID line and,
 * where the disk has one, in the last eight digits of `ddb.longContentID` (VMware keeps the two
 * equal). Where QEMU wrote fewer than eight digits the text behind the CID moves; `room` is how
 * many bytes the text may have.
 *
 * @returns no change where the descriptor has no CID line
 * @throws VmdkError VMDK_BAD_DESCRIPTOR where eight digits do not fit into `room`
 */
export function changeCid(
  descriptor: Descriptor,
  cid: number,
  room: number,
  file: string,
): DescriptorChange[] {
  const entry = descriptor.entries.get('cid');
  if (entry === undefined) return [];
  const digits = formatCid(cid);
  // A longer one that was no CID leaves blanks behind: nothing moves.
  const changes = [{ start: entry.start, text: digits.padEnd(entry.value.length) }];
  const long = descriptor.entries.get('ddb.longcontentid');
  if (long !== undefined && /^[0-9a-f]{32}$/i.test(long.value)) {
    changes.push({ start: long.start + long.value.length - 8, text: digits });
  }
  if (entry.value.length >= digits.length) return changes;
  let text = descriptor.text;
  for (const change of changes.slice(1)) text = splice(text, change.start, 8, change.text);
  text = splice(text, entry.start, entry.value.length, digits);
  if (text.length > room) {
    throw new VmdkError(
      'VMDK_BAD_DESCRIPTOR',
      file,
      `the descriptor has no room for a CID of eight digits (${text.length} bytes, ${room} there); mount with -o ro`,
    );
  }
  if (descriptor.isTerminated && text.length < room) text += '\0';
  const from = Math.min(...changes.map((change) => change.start));
  return [{ start: from, text: text.slice(from) }];
}

/**
 * What to write so that a child's parentCID becomes `cid`, in as many digits as it has: nothing
 * moves, so a power cut can damage nothing else.
 *
 * @returns no change where the descriptor has no parent's CID
 */
export function changeParentCid(descriptor: Descriptor, cid: number): DescriptorChange[] {
  const entry = descriptor.entries.get('parentcid');
  if (entry === undefined || descriptor.parentCid === undefined) return [];
  return [{ start: entry.start, text: formatCid(cid).slice(-entry.value.length) }];
}

/**
 * The CIDs of which the parent of `child` takes one when the child is merged into it; undefined for
 * a descriptor without a CID or without a parent's.
 */
export function mergedCidsOf(child: Descriptor): readonly [number, number] | undefined {
  const entry = child.entries.get('parentcid');
  if (entry === undefined || child.parentCid === undefined || child.cid === undefined) return;
  return mergedCids(child.cid, entry.value.length);
}

/** Version of a descriptor with change tracking, and the one that it has without. */
const VERSION_TRACKED = '3';
const VERSION_PLAIN = '1';

/**
 * What to write so that the descriptor refers to no change tracking any more, as VMware advises:
 * the line with its path becomes a comment and version 3 becomes 1. Nothing moves.
 *
 * @returns the changes, and the descriptor with them
 */
export function dropChangeTracking(descriptor: Descriptor): {
  changes: DescriptorChange[];
  descriptor: Descriptor;
} {
  if (descriptor.changeTrackPath === undefined) return { changes: [], descriptor };
  const changes: DescriptorChange[] = [];
  const path = descriptor.entries.get('changetrackpath');
  if (path !== undefined) {
    const { text } = descriptor;
    const lineEnd = /[\r\n]|$/g;
    lineEnd.lastIndex = path.start;
    const end = lineEnd.exec(text)?.index ?? text.length;
    const before = text.slice(0, path.start);
    const start = Math.max(before.lastIndexOf('\n'), before.lastIndexOf('\r')) + 1;
    changes.push({ start, text: '#'.padEnd(end - start) });
  }
  const version = descriptor.entries.get('version');
  if (version?.value === VERSION_TRACKED) {
    changes.push({ start: version.start, text: VERSION_PLAIN });
  }
  const text = changes.reduce(
    (before, change) => splice(before, change.start, change.text.length, change.text),
    descriptor.text,
  );
  return { changes, descriptor: { ...descriptor, text } };
}

function splice(text: string, start: number, length: number, insert: string): string {
  return text.slice(0, start) + insert + text.slice(start + length);
}
