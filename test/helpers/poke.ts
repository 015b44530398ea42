import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** Writes `bytes` into `file` at `offset`, and nothing else. */
export function poke(file: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

/** Reads `length` bytes of `file` at `offset`. */
export function peek(file: string, offset: number, length: number): Buffer {
  const fd = openSync(file, 'r');
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, offset);
  closeSync(fd);
  return bytes;
}

/** A number as `size` little-endian bytes. */
export function littleEndian(value: number | bigint, size: 1 | 2 | 4 | 8): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes.subarray(0, size);
}
