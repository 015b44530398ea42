/**
 * The content id: a u32 that changes with the first write after an open, so that a child can tell
 * that its parent was modified. `ffffffff` means none, `fffffffe` is what VMware gives a new disk.
 */
import { VmdkError } from './vmdk-error.js';

const CID_RESERVED_MIN = 0xfffffffe;

/** Reads a CID of one to eight hex digits (QEMU writes them without leading zeros). */
export function parseCid(value: string | undefined, key: string, file: string): number | undefined {
  if (value === undefined) return undefined;
  if (!/^[0-9a-f]{1,8}$/i.test(value)) {
    throw new VmdkError(
      'VMDK_BAD_DESCRIPTOR',
      file,
      `${key} is ${JSON.stringify(value)} (one to eight hex digits expected)`,
    );
  }
  return Number.parseInt(value, 16);
}

/** A CID as VMware writes it: eight hex digits. */
export function formatCid(cid: number): string {
  return cid.toString(16).padStart(8, '0');
}

/** A random CID that is neither reserved nor `previous`. `random` gives a u32. */
export function newCid(previous: number | undefined, random: () => number): number {
  for (;;) {
    const cid = random();
    if (cid !== 0 && cid < CID_RESERVED_MIN && cid !== previous) return cid;
  }
}
