/**
 * The content id: a u32 that changes with the first write after an open, so that a child can tell
 * that its parent was modified. `ffffffff` means none, `fffffffe` is what VMware gives a new disk.
 */
const CID_RESERVED_MIN = 0xfffffffe;

/**
 * Reads a CID of one to eight hex digits (QEMU writes them without leading zeros). Some exporters write
 * decimal numbers, `0x` before the digits, or nothing at all: such a CID is undefined. It says nothing
 * of where data is; only a chain needs it.
 */
export function parseCid(value: string | undefined): number | undefined {
  if (value === undefined || !/^[0-9a-f]{1,8} *$/i.test(value)) return undefined;
  return Number.parseInt(value, 16);
}

/** A CID as VMware writes it: eight hex digits. */
export function formatCid(cid: number): string {
  return cid.toString(16).padStart(8, '0');
}

/** Digits of a CID as it is written in full. */
const CID_DIGITS = 8;

/**
 * The two CIDs of which a parent takes one when the child with `childCid` is merged into it: the one
 * that it does not have. They follow from the child alone, so that whoever opens the two after a
 * merge was cut off can tell it from any other change of the parent. They have at most `digits` hex
 * digits, as many as the child's line has room for.
 */
export function mergedCids(childCid: number, digits: number): readonly [number, number] {
  const limit = 16 ** Math.min(digits, CID_DIGITS);
  let state = childCid;
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % limit;
  };
  const first = newCid(undefined, next);
  return [first, newCid(first, next)];
}

/**
 * Whether `found` is one of `cids`, or what a power cut may leave of one that was written over
 * another: the beginning of one and the end of the other.
 */
export function isCutOffCid(found: number, cids: readonly number[]): boolean {
  const digits = formatCid(found);
  const texts = cids.map(formatCid);
  return texts.some((one) =>
    texts.some((other) =>
      Array.from(digits).some((_, at) => one.slice(0, at) + other.slice(at) === digits),
    ),
  );
}

/** A random CID that is neither reserved nor `previous`. `random` gives a u32. */
export function newCid(previous: number | undefined, random: () => number): number {
  for (;;) {
    const cid = random();
    if (cid !== 0 && cid < CID_RESERVED_MIN && cid !== previous) return cid;
  }
}
