/** Counts what came of cases. */
import type { Verdict } from './tester.js';

const MIB = 2 ** 20;

interface Extreme {
  readonly number: number;
  readonly value: number;
}

export class Tally {
  #cases = 0;
  #edits = 0;
  #slowest: Extreme = { number: 0, value: 0 };
  #largest: Extreme = { number: 0, value: 0 };
  readonly #reading = new Map<string, number>();
  readonly #writing = new Map<string, number>();
  readonly #operations = new Map<string, number>();

  add(number: number, edits: number, verdict: Verdict): void {
    const { memory, milliseconds, use } = verdict;
    this.#cases += 1;
    this.#edits += edits;
    if (milliseconds > this.#slowest.value) this.#slowest = { number, value: milliseconds };
    if (memory > this.#largest.value) this.#largest = { number, value: memory };
    if (use === undefined) return;
    count(this.#reading, use.reading);
    count(this.#writing, use.writing);
    for (const code of use.operations) count(this.#operations, code);
  }

  /** The counts, in lines. */
  lines(): string[] {
    const { number: slow, value: milliseconds } = this.#slowest;
    const { number: large, value: memory } = this.#largest;
    return [
      `${this.#cases} cases of ${this.#edits} mutations`,
      `opened for reading: ${table(this.#reading)}`,
      `opened for writing: ${table(this.#writing)}`,
      `reads, writes and the like: ${table(this.#operations)}`,
      `slowest: case ${slow}, ${Math.round(milliseconds)} ms; largest: case ${large}, ${Math.round(memory / MIB)} MiB`,
    ];
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function table(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].sort(([, one], [, other]) => other - one);
  return sorted.map(([code, times]) => `${code} ${times}`).join(', ') || 'none';
}
