const ZEROS = Buffer.alloc(64 * 1024);

/** Whether `length` bytes of `source` from `offset` on are all zero. */
export function isZero(source: Uint8Array, offset: number, length: number): boolean {
  // Data that is not zero nearly always shows it in its first bytes; no buffer is made for those.
  const probe = Math.min(length, 16);
  for (let index = 0; index < probe; index++) if (source[offset + index] !== 0) return false;
  const view = Buffer.from(source.buffer, source.byteOffset + offset, length);
  for (let start = 0; start < length; start += ZEROS.length) {
    const end = Math.min(length, start + ZEROS.length);
    if (view.compare(ZEROS, 0, end - start, start, end) !== 0) return false;
  }
  return true;
}
