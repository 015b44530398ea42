/** Sizes as people write and read them, in powers of 1024. */
import { UsageError } from '../mount/mount-error.js';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'];

/**
 * Parses `20G`, `1.5T`, `512`: bytes, or a number with K, M, G, T or P (and an `iB` or `B` behind
 * it, which changes nothing).
 *
 * @throws UsageError
 */
export function parseSize(text: string): number {
  const groups = /^(?<number>\d+(?:\.\d+)?)(?<unit>[KMGTP]?)(?:i?B)?$/i.exec(text)?.groups;
  const unit = UNITS.indexOf((groups?.['unit'] ?? '').toUpperCase());
  const bytes = Math.round(Number(groups?.['number']) * 1024 ** unit);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new UsageError(
    `${JSON.stringify(text)} is not a size (a number with K, M, G, T or P expected)`,
  );
}

/** `20 GiB (21474836480 bytes)`. */
export function formatSize(bytes: number): string {
  const short = formatSizeShort(bytes);
  return bytes < 1024 ? short : `${short} (${bytes} bytes)`;
}

/** `20 GiB`: four digits of it. */
export function formatSizeShort(bytes: number): string {
  let unit = 0;
  while (unit < UNITS.length - 1 && bytes >= 1024 ** (unit + 1)) unit += 1;
  if (unit === 0) return `${bytes} bytes`;
  const number = Number((bytes / 1024 ** unit).toPrecision(4));
  return `${number} ${UNITS[unit] ?? ''}iB`;
}
