/** A disk beside a plain array that the same operations are done to. */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { BlockDevice } from '../../src/block/block-device.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';
import { pattern, type MadeDisk } from '../helpers/made-disk.js';

interface Write {
  readonly kind: 'write';
  readonly at: number;
  readonly length: number;
  readonly seed: number;
}

interface Ranged {
  readonly kind: 'zeros' | 'zero' | 'read';
  readonly at: number;
  readonly length: number;
}

export type Operation = Write | Ranged | { readonly kind: 'flush' } | { readonly kind: 'reopen' };

/** A place as a share of the disk, near a border of 4 KiB or 64 KiB as often as not. */
const at = fc.double({ min: 0, max: 1, noNaN: true, noDefaultInfinity: true });
const length = fc.oneof(
  fc.integer({ min: 1, max: 9000 }),
  fc.integer({ min: 1, max: 300_000 }),
  fc.constantFrom(512, 4096, 65536, 131072),
);

/** One step: a write, zeros written, a range zeroed, a read, a flush, or the disk opened again. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('write' as const), at, length, seed: fc.nat(999) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('zeros' as const), at, length }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('zero' as const), at, length }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('read' as const), at, length }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom({ kind: 'flush' } as const, { kind: 'reopen' } as const),
  },
);

/** The disk beside what it should hold. */
export class DiskModel {
  readonly #sparseFiles: readonly string[];
  readonly #content: Buffer;
  readonly #open: () => BlockDevice;
  #device: BlockDevice;

  /** @param open opens the disk for writing */
  constructor(made: Pick<MadeDisk, 'content' | 'sparseFiles'>, open: () => BlockDevice) {
    this.#sparseFiles = made.sparseFiles;
    this.#content = Buffer.from(made.content);
    this.#open = open;
    this.#device = open();
    expect(this.#device.size).toBe(this.#content.length);
  }

  apply(step: Operation): void {
    if (step.kind === 'flush') this.#device.flush();
    else if (step.kind === 'reopen') this.reopen();
    else this.#applyRange(step);
  }

  #applyRange(step: Write | Ranged): void {
    const { offset, length } = this.#range(step.at, step.length);
    if (step.kind === 'read') {
      this.compare(offset, length);
    } else if (step.kind === 'zero') {
      this.#device.zero(offset, length);
      this.#content.fill(0, offset, offset + length);
    } else {
      const bytes = step.kind === 'write' ? pattern(length, step.seed) : Buffer.alloc(length);
      // A part of a larger buffer, as a request's payload is.
      const source = Buffer.concat([Buffer.alloc(13, 0xee), bytes]);
      this.#device.write(source, 13, length, offset);
      bytes.copy(this.#content, offset);
    }
  }

  #range(share: number, wanted: number): { offset: number; length: number } {
    const { size } = this.#device;
    const exact = Math.floor(share * (size - 1));
    const borders = [exact, Math.floor(exact / 4096) * 4096, Math.floor(exact / 65536) * 65536];
    const offset = borders[wanted % 3] ?? exact;
    return { offset, length: Math.min(wanted, size - offset) };
  }

  compare(offset: number, length: number): void {
    const target = Buffer.alloc(length + 20, 0xdd);
    this.#device.read(target, 10, length, offset);
    expect(
      target.subarray(10, 10 + length).equals(this.#content.subarray(offset, offset + length)),
    ).toBe(true);
    expect(target.subarray(0, 10).equals(Buffer.alloc(10, 0xdd))).toBe(true);
    expect(target.subarray(10 + length).equals(Buffer.alloc(10, 0xdd))).toBe(true);
  }

  /** Holes hold zeros, and the walk ends. */
  compareHoles(): void {
    const { size } = this.#device;
    for (let offset = 0; offset < size;) {
      const data = this.#device.nextData(offset, size);
      expect(data).toBeGreaterThanOrEqual(offset);
      expect(this.#content.subarray(offset, data).equals(Buffer.alloc(data - offset))).toBe(true);
      if (data === size) break;
      const hole = this.#device.nextHole(data, size);
      expect(hole).toBeGreaterThan(data);
      offset = hole;
    }
  }

  reopen(): void {
    this.#device.close();
    for (const file of this.#sparseFiles) {
      const { problems, uncleanShutdown } = inspectExtentFile(file);
      expect(problems).toEqual([]);
      expect(uncleanShutdown).toBe(0);
    }
    this.#device = this.#open();
  }

  /** Compares all of the disk, also when it has been opened again, and closes it. */
  finish(): void {
    this.compare(0, this.#device.size);
    this.compareHoles();
    this.reopen();
    this.finishOnce();
  }

  /** Compares all of the disk and closes it. */
  finishOnce(): void {
    this.compare(0, this.#device.size);
    this.compareHoles();
    this.#device.close();
  }
}
