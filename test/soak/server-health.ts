/** Memory and descriptors of a server, which must not grow while it works. */
import { readdirSync, readFileSync } from 'node:fs';

const MIB = 1024 * 1024;

/** How far memory may rise above what it was after the first workload, and descriptors. */
const GROWTH_BYTES = 32 * MIB;
const GROWTH_DESCRIPTORS = 4;

/** What memory may never be above, with eight threads. */
const BYTES_MAX = 300 * MIB;

interface Sample {
  readonly bytes: number;
  readonly descriptors: number;
}

export class ServerHealth {
  readonly #pid: number;
  #first: Sample | undefined;
  #highest: Sample = { bytes: 0, descriptors: 0 };

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** @throws Error where the server has grown beyond the bounds */
  sample(): void {
    const status = readFileSync(`/proc/${this.#pid}/status`, 'utf8');
    const kibibytes = /^VmRSS:\s+(?<number>\d+) kB$/m.exec(status)?.groups?.['number'];
    const now = {
      bytes: Number(kibibytes) * 1024,
      descriptors: readdirSync(`/proc/${this.#pid}/fd`).length,
    };
    this.#first ??= now;
    this.#highest = {
      bytes: Math.max(now.bytes, this.#highest.bytes),
      descriptors: Math.max(now.descriptors, this.#highest.descriptors),
    };
    const isWithin =
      now.bytes <= Math.min(BYTES_MAX, this.#first.bytes + GROWTH_BYTES) &&
      now.descriptors <= this.#first.descriptors + GROWTH_DESCRIPTORS;
    if (!isWithin) throw new Error(`the server has grown: ${this.words()}`);
  }

  /** The first sample and the highest of each number. */
  words(): string {
    const { bytes, descriptors } = this.#first ?? this.#highest;
    const mebibytes = (count: number): string => (count / MIB).toFixed(0);
    return `resident ${mebibytes(bytes)} to ${mebibytes(this.#highest.bytes)} MiB, descriptors ${descriptors} to ${this.#highest.descriptors}`;
  }
}
