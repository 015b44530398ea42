/**
 * What a disk may hold after its server was killed in the middle of recorded writes: each byte what
 * was last synced there, or what a later record that was begun makes of it.
 */

/** One change of the disk; lanes change separate parts of it, each its records in their order. */
export interface WriteRecord {
  readonly kind: 'data' | 'zero';
  /** Bytes of the disk. */
  readonly at: number;
  readonly length: number;
  /** Where its bytes begin in the bank. */
  readonly from: number;
  /** For fallocate. */
  readonly mode: number;
  /** Whether a sync follows. */
  readonly isSynced: boolean;
}

/** How far a lane came. */
export interface LaneProgress {
  /** Records begun. */
  begun: number;
  /** Records known to be durable. */
  synced: number;
}

const KIB = 1024;
const BANK_BYTES = 1024 * KIB;
const FALLOC_MODES = [3, 16];

/** Repeatable random numbers. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed || 1;
  }

  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
}

/** Bytes from which records take theirs: none is zero, and no two places look alike. */
export function newBank(seed: number): Buffer {
  const random = new Random(seed);
  const bank = Buffer.alloc(BANK_BYTES);
  for (let index = 0; index < bank.length; index++) bank[index] = 1 + random.below(255);
  return bank;
}

/** Records for `[start, end)`: mostly small, now and then large, some zeros, some holes. */
export function planLane(
  random: Random,
  start: number,
  end: number,
  options: { count: number; holes: boolean },
): WriteRecord[] {
  return Array.from({ length: options.count }, () => {
    const large = random.below(12) === 0;
    const length = Math.min(end - start, 1 + random.below(large ? 300 * KIB : 9 * KIB));
    return {
      kind: options.holes && random.below(10) === 0 ? 'zero' : 'data',
      at: start + random.below(end - start - length + 1),
      length,
      from: random.below(BANK_BYTES - length),
      mode: FALLOC_MODES[random.below(FALLOC_MODES.length)] ?? 0,
      isSynced: random.below(8) === 0,
    };
  });
}

export class RecordedDisk {
  /** What the disk is known to hold. */
  readonly content: Buffer;
  readonly #bank: Buffer;

  constructor(content: Buffer, bank: Buffer) {
    this.content = Buffer.from(content);
    this.#bank = bank;
  }

  /**
   * Takes over what was found after a crash, where that may be.
   *
   * @throws Error with the first byte that may not be what it is
   */
  found(
    found: Buffer,
    lanes: readonly (readonly WriteRecord[])[],
    progress: readonly LaneProgress[],
  ): void {
    const expected = this.content;
    const allowed = new Uint8Array(found.length);
    lanes.forEach((records, lane) => {
      const { begun = 0, synced = 0 } = progress[lane] ?? {};
      for (const record of records.slice(0, synced))
        this.#bytesOf(record).copy(expected, record.at);
      for (const record of records.slice(synced, begun)) {
        this.#bytesOf(record).forEach((byte, index) => {
          if (found[record.at + index] === byte) allowed[record.at + index] = 1;
        });
      }
    });
    if (found.length !== expected.length) throw new Error(`the disk has ${found.length} bytes`);
    for (let at = 0; at < found.length; at++) {
      if (found[at] === expected[at] || allowed[at] === 1) continue;
      throw new Error(`byte ${at} is ${found[at] ?? -1}, was ${expected[at] ?? -1} when synced`);
    }
    found.copy(expected);
  }

  #bytesOf({ from, kind, length }: WriteRecord): Buffer {
    return kind === 'zero' ? Buffer.alloc(length) : this.#bank.subarray(from, from + length);
  }
}
