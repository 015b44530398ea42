/** New, empty sparse extents: hosted (SPARSE), COWD (VMFSSPARSE) and seSparse (SESPARSE). */
import { encodeCowdHeader, newCowdBytes, type NewCowdExtent } from '../vmdk/cowd-header.js';
import {
  directoryBytes,
  newLayout,
  tableBytes,
  tableCount,
  type Geometry,
} from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { DESCRIPTOR_SECTORS } from '../vmdk/new-descriptor.js';
import {
  encodeSeSparseHeader,
  newJournalHeader,
  newSeSparseHeader,
  newVolatileHeader,
} from '../vmdk/se-sparse-header.js';
import { encodeSparseHeader } from '../vmdk/sparse-extent-header.js';
import { systemError } from '../errno.js';
import type { HostFile } from './host-file.js';

/** VMware's grain, in bytes. */
const GRAIN_BYTES = 64 * 1024;
const TABLE_ENTRIES = 512;

/** ESX's grain of a COWD extent, in bytes. */
const COWD_GRAIN_BYTES = SECTOR_BYTES;

/**
 * Writes a hosted extent of `capacity` bytes with `descriptor` inside, or without one.
 *
 * @throws ENAMETOOLONG where the descriptor needs more room than VMware leaves it
 */
export function writeSparseExtent(
  file: HostFile,
  capacity: number,
  descriptor: Buffer | undefined,
): void {
  const geometry = { capacity, grainBytes: GRAIN_BYTES, tableEntries: TABLE_ENTRIES };
  const room = descriptor === undefined ? 0 : DESCRIPTOR_SECTORS * SECTOR_BYTES;
  const layout = newLayout(geometry, room);
  write(file, encodeSparseHeader(geometry, layout), 0);
  if (descriptor !== undefined) {
    if (descriptor.length > room) {
      throw systemError('ENAMETOOLONG', `${file.path}: its names do not fit the descriptor`);
    }
    write(file, descriptor, layout.descriptorOffset);
  }
  writeDirectory(file, geometry, layout.rgdOffset);
  writeDirectory(file, geometry, layout.gdOffset);
  // The tables are holes: they read as zeros, which is what empty tables are.
  file.setLength(layout.overHead);
}

function writeDirectory(file: HostFile, geometry: Geometry, offset: number): void {
  const first = (offset + directoryBytes(geometry)) / SECTOR_BYTES;
  const tableSectors = tableBytes(geometry) / SECTOR_BYTES;
  const entries = Uint32Array.from(
    { length: tableCount(geometry) },
    (_, table) => first + table * tableSectors,
  );
  write(file, new Uint8Array(entries.buffer), offset);
}

/** Writes a COWD extent: a header, and a directory that is a hole. */
export function writeCowdExtent(
  file: HostFile,
  capacity: number,
  origin: NewCowdExtent['origin'],
): void {
  write(file, encodeCowdHeader({ capacity, grainBytes: COWD_GRAIN_BYTES, origin }), 0);
  file.setLength(newCowdBytes(capacity, COWD_GRAIN_BYTES));
}

/** Writes a seSparse extent: its headers, and regions that are holes up to where grains begin. */
export function writeSeSparseExtent(file: HostFile, capacity: number): void {
  const header = newSeSparseHeader(capacity);
  write(file, encodeSeSparseHeader(header), 0);
  write(file, newVolatileHeader(), header.volatileOffset);
  write(file, newJournalHeader(), header.journalHeader.offset);
  file.setLength(header.grains.offset);
}

function write(file: HostFile, bytes: Uint8Array, position: number): void {
  file.write(bytes, 0, bytes.length, position);
}
