/**
 * DOS partition tables: four entries in the first sector, of which an extended one leads to a chain
 * of tables with one logical partition each. The labels that BSD and Solaris have inside their
 * partitions are read too. Rules and numbers are those of Linux (block/partitions/msdos.c) and libblkid
 * (partitions/dos.c). Sectors are of 512 bytes.
 */
import { struct, u32, u8, viewOf } from '../binary/struct.js';
import { beginsFileSystem } from './boot-sector.js';
import { hexByte, LABEL_OFFSET, readBsdLabel } from './bsd-label.js';
import {
  plainPartition,
  PARTITIONS_MAX,
  type ByteRange,
  type Partition,
  type ReadDisk,
} from './partition.js';
import {
  BSD_TYPES,
  dosTypeName,
  EXTENDED_TYPES,
  FREEBSD_TYPE,
  PROTECTIVE_TYPE,
  SOLARIS_TYPES,
} from './partition-types.js';
import { readVtoc } from './solaris-label.js';

const SECTOR = 512;

/** `struct msdos_partition`; the addresses by cylinder and head mean nothing any more. */
const Entry = struct('msdos_partition', 16, {
  bootIndicator: u8,
  head: u8,
  sector: u8,
  cylinder: u8,
  type: u8,
  endHead: u8,
  endSector: u8,
  endCylinder: u8,
  start: u32,
  sectors: u32,
});

const ENTRIES = 446;
const ENTRY_COUNT = 4;
const SIGNATURE = 510;
const ACTIVE = 0x80;

/** The first number of logical partitions. */
const FIRST_LOGICAL = 5;

/** Most tables that are followed: some may be empty. */
const CHAIN_MAX = 2 * PARTITIONS_MAX;

interface DosEntry {
  readonly type: number;
  readonly indicator: number;
  /** Sectors, from a place that depends on the entry. */
  readonly start: number;
  readonly sectors: number;
}

export interface Mbr {
  readonly partitions: Partition[];
  readonly notices: string[];
  /** Where there are tables beside the first sector. */
  readonly places: ByteRange[];
  /** Whether it announces a GPT. */
  readonly isProtective: boolean;
}

/** Undefined where the disk has no such table: a boot sector of a file system is none. */
export function readMbr(read: ReadDisk, size: number): Mbr | undefined {
  if (size < SECTOR) return undefined;
  const sector = read(0, SECTOR);
  const entries = entriesOf(sector);
  if (entries === undefined || !isTable(entries, sector, read, size)) return undefined;
  const mbr: Mbr = {
    partitions: [],
    notices: [],
    places: [],
    isProtective: entries.some(({ type }) => type === PROTECTIVE_TYPE),
  };
  entries.forEach((entry, index) => {
    if (entry.sectors === 0 || entry.type === PROTECTIVE_TYPE) return;
    mbr.partitions.push(partitionOf(entry, index + 1, 0));
  });
  const chain = new Chain(read, size, mbr);
  for (const entry of entries) {
    if (entry.sectors > 0 && isExtended(entry)) chain.follow(entry);
  }
  addNested(read, size, mbr, chain.nextNumber);
  return mbr;
}

/** Tables of AIX have the same signature, and begin so (`IBMA` in EBCDIC). */
const AIX_MAGIC = Buffer.from([0xc9, 0xc2, 0xd4, 0xc1]);

/** Boot sectors of file systems have the signature too, and code where the entries would be. */
function isTable(
  entries: readonly DosEntry[],
  sector: Uint8Array,
  read: ReadDisk,
  size: number,
): boolean {
  if (entries.some(({ indicator }) => indicator !== 0 && indicator !== ACTIVE)) return false;
  if (AIX_MAGIC.equals(sector.subarray(0, AIX_MAGIC.length))) return false;
  return !beginsFileSystem(sector, read, size);
}

/** Adds the partitions of the labels inside BSD's and Solaris' primary partitions. */
function addNested(read: ReadDisk, size: number, mbr: Mbr, firstNumber: number): void {
  let number = firstNumber;
  for (const { type: name, ...outer } of mbr.partitions.filter(isPrimary)) {
    const type = Number(name);
    const readLabel = BSD_TYPES.includes(type) ? readBsdLabel : readVtoc;
    if (readLabel === readVtoc && !SOLARIS_TYPES.includes(type)) continue;
    const slice = { ...outer, isFreeBsd: type === FREEBSD_TYPE };
    const label = outer.start + LABEL_OFFSET;
    if (label + SECTOR > size) continue;
    mbr.places.push({ start: label, end: label + SECTOR });
    const found = readLabel(read, slice, number, mbr.notices) ?? [];
    mbr.partitions.push(...found);
    number = Math.max(number, ...found.map((each) => each.number + 1));
  }
}

/** The chains of tables in extended partitions. */
class Chain {
  readonly #read: ReadDisk;
  readonly #size: number;
  readonly #mbr: Mbr;
  #tables = 0;
  #number = FIRST_LOGICAL;

  constructor(read: ReadDisk, size: number, mbr: Mbr) {
    this.#read = read;
    this.#size = size;
    this.#mbr = mbr;
  }

  /** The number of the next partition that is found. */
  get nextNumber(): number {
    return this.#number;
  }

  follow(extended: DosEntry): void {
    // The first sector of a disk is no table of logical partitions.
    if (extended.start === 0) return;
    const visited = new Set<string>();
    // Sectors that the table at hand speaks for.
    let room = extended.sectors;
    for (let sector = extended.start; ;) {
      const step = `${sector} ${room}`;
      const refusal = visited.has(step)
        ? 'was there before: the chain goes round in circles'
        : this.#refusal(sector);
      if (refusal !== undefined) {
        this.#mbr.notices.push(`the table of logical partitions at sector ${sector} ${refusal}`);
        return;
      }
      visited.add(step);
      this.#tables++;
      this.#mbr.places.push({ start: sector * SECTOR, end: (sector + 1) * SECTOR });
      const entries = entriesOf(this.#read(sector * SECTOR, SECTOR));
      if (entries === undefined) {
        // An extended partition that nothing was put into yet has none.
        if (sector !== extended.start) {
          this.#mbr.notices.push(`there is no table of logical partitions at sector ${sector}`);
        }
        return;
      }
      this.#addLogical(entries, extended, sector, room);
      // A link to the first table of all leads nowhere.
      const next = entries.find(
        (entry) => entry.sectors > 0 && isExtended(entry) && entry.start !== 0,
      );
      if (next === undefined) return;
      sector = extended.start + next.start;
      room = next.sectors;
    }
  }

  /** The third and fourth entry may be left-overs: they count only where they can be meant. */
  #addLogical(
    entries: readonly DosEntry[],
    extended: DosEntry,
    sector: number,
    room: number,
  ): void {
    entries.forEach((entry, index) => {
      if (entry.sectors === 0 || isExtended(entry)) return;
      const start = sector + entry.start;
      const isInside =
        entry.start + entry.sectors <= room &&
        start >= extended.start &&
        start + entry.sectors <= extended.start + extended.sectors;
      if (index >= 2 && !isInside) return;
      const { partitions } = this.#mbr;
      if (partitions.some((each) => each.start === start * SECTOR)) return;
      partitions.push(partitionOf(entry, this.#number++, sector));
    });
  }

  #refusal(sector: number): string | undefined {
    if ((sector + 1) * SECTOR > this.#size) return 'lies past the end of the disk';
    if (this.#tables >= CHAIN_MAX) return `is the ${CHAIN_MAX}th, and no more are read`;
    return undefined;
  }
}

function isPrimary({ number }: Partition): boolean {
  return number < FIRST_LOGICAL;
}

function isExtended({ type }: DosEntry): boolean {
  return EXTENDED_TYPES.includes(type);
}

function partitionOf(entry: DosEntry, number: number, base: number): Partition {
  const partition = plainPartition({
    number,
    start: (base + entry.start) * SECTOR,
    size: entry.sectors * SECTOR,
    type: hexByte(entry.type),
    typeName: dosTypeName(entry.type),
  });
  return { ...partition, bootable: entry.indicator === ACTIVE, isContainer: isExtended(entry) };
}

/** The entries of a table; undefined where the sector has not its signature. */
function entriesOf(sector: Uint8Array): DosEntry[] | undefined {
  const view = viewOf(sector);
  if (view.getUint8(SIGNATURE) !== 0x55 || view.getUint8(SIGNATURE + 1) !== 0xaa) return undefined;
  return Array.from({ length: ENTRY_COUNT }, (_, index) => {
    const base = ENTRIES + index * Entry.byteLength;
    return {
      type: Entry.type.get(view, base),
      indicator: Entry.bootIndicator.get(view, base),
      start: Entry.start.get(view, base),
      sectors: Entry.sectors.get(view, base),
    };
  });
}
