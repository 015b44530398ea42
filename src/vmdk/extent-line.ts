/**
 * An extent line of a descriptor: `RW 4192256 SPARSE "disk-s001.vmdk"`, that is access, size in
 * sectors, type, and for most types a file name and an offset in sectors into that file. Words are
 * not case-sensitive (Virtual Disk Format 5.0). ZERO extents have no file. The end of the line ends
 * a name too where no offset has to follow, and ZERO of no sectors is no extent: QEMU reads both so.
 */
import { CAPACITY_SECTORS_MAX, SECTOR_BYTES } from './limits.js';
import { VmdkError } from './vmdk-error.js';

/** What the disk's user may do with an extent. */
type ExtentAccess = 'RW' | 'RDONLY' | 'NOACCESS';

/** One extent line; `size` and `fileOffset` in bytes. */
export interface ExtentLine {
  readonly access: ExtentAccess;
  readonly size: number;
  /** The type in capitals: FLAT, VMFS, SPARSE, ZERO or one that we may not know. */
  readonly type: string;
  /** The file name as the descriptor has it, one character for each byte; empty where there is none. */
  readonly fileName: string;
  readonly fileOffset: number;
  /** Number of the line in the descriptor, from 1, for messages. */
  readonly lineNumber: number;
}

const ACCESS_WORD = /^(?:RW|RDONLY|NOACCESS)\s/i;
const EXTENT_LINE =
  /^(?<access>RW|RDONLY|NOACCESS)\s+(?<sectors>\d{1,16})\s+(?<type>[A-Z0-9]+)(?:\s+"(?:(?<unclosed>[^"]+)$|(?<name>[^"]*)"(?:\s+(?<offset>\d{1,16})(?:\s.*)?)?))?$/i;

/** Whether `line`, without white space around it, begins as an extent line does. */
export function isExtentLine(line: string): boolean {
  return ACCESS_WORD.test(line);
}

/**
 * Parses a line for which `isExtentLine` holds; undefined for a ZERO extent of no sectors.
 *
 * @throws VmdkError VMDK_BAD_EXTENT_LINE when it is not of the grammar, or its size is out of range
 */
export function parseExtentLine(
  line: string,
  lineNumber: number,
  file: string,
): ExtentLine | undefined {
  const groups = EXTENT_LINE.exec(line)?.groups;
  if (groups === undefined)
    throw badLine(line, lineNumber, file, 'ACCESS SECTORS TYPE "FILE" [OFFSET] expected');
  const sectors = Number(groups['sectors']);
  const offset = Number(groups['offset'] ?? 0);
  const type = (groups['type'] ?? '').toUpperCase();
  if (sectors === 0 && type === 'ZERO') return undefined;
  if (sectors === 0 || sectors + offset > CAPACITY_SECTORS_MAX) {
    throw badLine(
      line,
      lineNumber,
      file,
      `size and offset from 1 to ${CAPACITY_SECTORS_MAX} sectors expected`,
    );
  }
  const fileName = fileNameOf(groups);
  const missing = whatIsMissing(groups, type, fileName);
  if (missing !== undefined) throw badLine(line, lineNumber, file, `${missing} expected`);
  return {
    access: (groups['access'] ?? '').toUpperCase() as ExtentAccess,
    size: sectors * SECTOR_BYTES,
    type,
    fileName,
    fileOffset: offset * SECTOR_BYTES,
    lineNumber,
  };
}

type Groups = Readonly<Partial<Record<string, string>>>;

function fileNameOf(groups: Groups): string {
  return groups['name'] ?? groups['unclosed'] ?? '';
}

function whatIsMissing(groups: Groups, type: string, fileName: string): string | undefined {
  if (fileName === '' && type !== 'ZERO') return 'a file name';
  // The offset of a FLAT extent may be missing with the quote.
  const isCut = groups['unclosed'] !== undefined && type === 'FLAT';
  return isCut ? 'a quote behind the file name' : undefined;
}

function badLine(line: string, lineNumber: number, file: string, hint: string): VmdkError {
  const shown = line.length > 120 ? `${line.slice(0, 120)}...` : line;
  return new VmdkError(
    'VMDK_BAD_EXTENT_LINE',
    file,
    `descriptor line ${lineNumber} is not an extent line: ${JSON.stringify(shown)} (${hint})`,
  );
}
