/** New flat extents: plain files that hold the disk byte for byte. */
import type { HostFile } from './host-file.js';

/** Bytes of zeros written at a time where the host has no other way to set space aside. */
const ZEROS_BYTES = 1024 * 1024;

/** Makes `file` `size` bytes of zeros, which take their space on the host or none. */
export function writeFlatExtent(file: HostFile, size: number, isPreallocated: boolean): void {
  if (!isPreallocated) file.setLength(size);
  else if (!file.preallocate(size)) writeZeros(file, size);
}

function writeZeros(file: HostFile, size: number): void {
  const zeros = new Uint8Array(Math.min(size, ZEROS_BYTES));
  for (let offset = 0; offset < size; offset += zeros.length) {
    file.write(zeros, 0, Math.min(zeros.length, size - offset), offset);
  }
}
