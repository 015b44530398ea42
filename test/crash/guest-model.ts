/**
 * What a disk may hold after a crash: of every byte the value that was last flushed, or one that was
 * written to it since, and no third. Places are those of the zones, one behind the other.
 */

const CHUNK = 512;

/** What the guest did; a discard and zeros are without bytes. */
export interface GuestChange {
  readonly kind: 'guest';
  readonly at: number;
  readonly length: number;
  readonly bytes: Buffer | undefined;
  /** Whether the host refused it on the way: any part of it may be done, and stay so. */
  isRefused?: boolean;
}

export class GuestModel {
  readonly #durable: Buffer;
  #since: GuestChange[] = [];

  constructor(content: Buffer) {
    this.#durable = Buffer.from(content);
  }

  /** The guest has begun to change something. */
  changed(change: GuestChange): void {
    this.#since.push(change);
  }

  /** All that was changed has been flushed. */
  flushed(): void {
    for (const { at, bytes, isRefused, length } of this.#since) {
      if (isRefused === true) continue;
      if (bytes === undefined) this.#durable.fill(0, at, at + length);
      else bytes.copy(this.#durable, at);
    }
    this.#since = this.#since.filter(({ isRefused }) => isRefused === true);
  }

  /** Where `found` is nothing that it may be, in words. */
  problem(found: Buffer): string | undefined {
    if (found.equals(this.#durable)) return undefined;
    for (let start = 0; start < found.length; start += CHUNK) {
      const end = Math.min(start + CHUNK, found.length);
      if (found.compare(this.#durable, start, end, start, end) === 0) continue;
      for (let at = start; at < end; at++) {
        if (!this.#allows(at, found[at] ?? 0)) return this.#describe(at, found[at] ?? 0);
      }
    }
    return undefined;
  }

  #allows(at: number, value: number): boolean {
    return this.#durable[at] === value || this.#newer(at).includes(value);
  }

  #newer(at: number): number[] {
    return this.#since
      .filter((change) => change.at <= at && at < change.at + change.length)
      .map(({ at: start, bytes }) => bytes?.[at - start] ?? 0);
  }

  #describe(at: number, value: number): string {
    const newer = this.#newer(at);
    const allowed = `${this.#durable[at] ?? -1} is durable`;
    return `byte ${at} is ${value}; ${allowed}, written since: ${newer.join(', ') || 'nothing'}`;
  }
}
