/**
 * DOS partition tables: four entries in the first sector, of which an extended one leads to a chain
 * of tables with one logical partition each (block/partitions/msdos.c of Linux, whose rules and
 * numbers these are). Sectors are of 512 bytes.
 */
import { struct, u32, u8, viewOf } from '../binary/struct.js';
import { PARTITIONS_MAX, type ByteRange, type Partition, type ReadDisk } from './partition.js';
import { dosTypeName, EXTENDED_TYPES, PROTECTIVE_TYPE } from './partition-types.js';

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

/** Most tables of a chain that are followed: some may be empty. */
const CHAIN_MAX = 2 * PARTITIONS_MAX;

interface DosEntry {
  readonly type: number;
  readonly bootable: boolean;
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
  const entries = entriesOf(read(0, SECTOR));
  if (entries === undefined) return undefined;
  const mbr: Mbr = {
    partitions: [],
    notices: [],
    places: [],
    isProtective: entries.some(({ type }) => type === PROTECTIVE_TYPE),
  };
  entries.forEach((entry, index) => {
    if (entry.sectors === 0 || entry.type === 0 || entry.type === PROTECTIVE_TYPE) return;
    mbr.partitions.push(partitionOf(entry, index + 1, 0));
  });
  const chain = new Chain(read, size, mbr);
  for (const entry of entries) {
    if (entry.sectors > 0 && EXTENDED_TYPES.includes(entry.type)) chain.follow(entry);
  }
  return mbr;
}

/** The chain of tables in extended partitions. */
class Chain {
  readonly #read: ReadDisk;
  readonly #size: number;
  readonly #mbr: Mbr;
  readonly #visited = new Set<number>();
  #number = FIRST_LOGICAL;

  constructor(read: ReadDisk, size: number, mbr: Mbr) {
    this.#read = read;
    this.#size = size;
    this.#mbr = mbr;
  }

  follow(extended: DosEntry): void {
    const end = extended.start + extended.sectors;
    for (let sector = extended.start; ;) {
      const refusal = this.#refusal(sector, extended.start, end);
      if (refusal !== undefined) {
        this.#mbr.notices.push(`the table of logical partitions at sector ${sector} ${refusal}`);
        return;
      }
      this.#visited.add(sector);
      this.#mbr.places.push({ start: sector * SECTOR, end: (sector + 1) * SECTOR });
      const entries = entriesOf(this.#read(sector * SECTOR, SECTOR));
      if (entries === undefined) {
        // An extended partition that nothing was put into yet has none.
        if (sector !== extended.start) {
          this.#mbr.notices.push(`there is no table of logical partitions at sector ${sector}`);
        }
        return;
      }
      const used = entries.filter((entry) => entry.sectors > 0 && entry.type !== 0);
      for (const entry of used) {
        if (EXTENDED_TYPES.includes(entry.type)) continue;
        this.#mbr.partitions.push(partitionOf(entry, this.#number++, sector));
      }
      const next = used.find((entry) => EXTENDED_TYPES.includes(entry.type));
      if (next === undefined) return;
      sector = extended.start + next.start;
    }
  }

  #refusal(sector: number, start: number, end: number): string | undefined {
    if (sector < start || sector >= end) return 'lies outside the extended partition';
    if ((sector + 1) * SECTOR > this.#size) return 'lies past the end of the disk';
    if (this.#visited.has(sector)) return 'was there before: the chain goes round in circles';
    if (this.#visited.size >= CHAIN_MAX) return `is the ${CHAIN_MAX}th, and no more are read`;
    return undefined;
  }
}

function partitionOf(entry: DosEntry, number: number, base: number): Partition {
  return {
    number,
    start: (base + entry.start) * SECTOR,
    size: entry.sectors * SECTOR,
    type: `0x${entry.type.toString(16).padStart(2, '0')}`,
    typeName: dosTypeName(entry.type),
    label: '',
    bootable: entry.bootable,
    isContainer: EXTENDED_TYPES.includes(entry.type),
  };
}

/** The entries of a table; undefined where the sector is none. */
function entriesOf(sector: Uint8Array): DosEntry[] | undefined {
  const view = viewOf(sector);
  if (view.getUint8(SIGNATURE) !== 0x55 || view.getUint8(SIGNATURE + 1) !== 0xaa) return undefined;
  const bases = Array.from({ length: ENTRY_COUNT }, (_, index) => {
    return ENTRIES + index * Entry.byteLength;
  });
  // The boot sector of a file system has the signature too, and code where the entries would be.
  const indicators = bases.map((base) => Entry.bootIndicator.get(view, base));
  if (indicators.some((indicator) => indicator !== 0 && indicator !== ACTIVE)) return undefined;
  return bases.map((base) => ({
    type: Entry.type.get(view, base),
    bootable: Entry.bootIndicator.get(view, base) === ACTIVE,
    start: Entry.start.get(view, base),
    sectors: Entry.sectors.get(view, base),
  }));
}
