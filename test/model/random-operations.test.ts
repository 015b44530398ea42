import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../src/block/block-device.js';
import { openImage } from '../../src/block/open-image.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { pattern, type MadeDisk } from '../helpers/made-disk.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';

const RUNS = Number(process.env['VMDKFS_MODEL_RUNS'] ?? 60);

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

type Operation = Write | Ranged | { readonly kind: 'flush' } | { readonly kind: 'reopen' };

/** A place as a share of the disk, near a border of 4 KiB or 64 KiB as often as not. */
const at = fc.double({ min: 0, max: 1, noNaN: true, noDefaultInfinity: true });
const length = fc.oneof(
  fc.integer({ min: 1, max: 9000 }),
  fc.integer({ min: 1, max: 300_000 }),
  fc.constantFrom(512, 4096, 65536, 131072),
);

const operation: fc.Arbitrary<Operation> = fc.oneof(
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
class Model {
  readonly #made: MadeDisk;
  readonly #content: Buffer;
  readonly #tableMemory: number;
  #device: BlockDevice;

  constructor(made: MadeDisk, tableMemory: number) {
    this.#made = made;
    this.#content = Buffer.from(made.content);
    this.#tableMemory = tableMemory;
    this.#device = this.#open(false);
    expect(this.#device.size).toBe(this.#content.length);
  }

  #open(readOnly: boolean): BlockDevice {
    return openImage(this.#made.image, { readOnly, tableMemory: this.#tableMemory }).device;
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
    for (const file of this.#made.sparseFiles) {
      const { problems, uncleanShutdown } = inspectExtentFile(file);
      expect(problems).toEqual([]);
      expect(uncleanShutdown).toBe(0);
    }
    this.#device = this.#open(false);
  }

  finish(): void {
    this.compare(0, this.#device.size);
    this.compareHoles();
    this.reopen();
    this.compare(0, this.#device.size);
    this.#device.close();
  }
}

function hashes(files: readonly string[]): string[] {
  return files.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
}

describe('random operations leave a disk as they leave a plain array', () => {
  const memories = [
    { memory: 256 * 1024 * 1024, title: 'all tables in memory' },
    { memory: 1, title: 'one table of each extent in memory' },
  ];
  for (const { memory, title } of memories) {
    test.each(DISK_KINDS)(`$name, ${title}`, (kind) => {
      fc.assert(
        fc.property(fc.array(operation, { minLength: 1, maxLength: 25 }), (steps) => {
          const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-model-'));
          try {
            const made = kind.make(folder);
            const before = hashes(made.parents);
            const model = new Model(made, memory);
            for (const step of steps) model.apply(step);
            model.finish();
            expect(hashes(made.parents)).toEqual(before);
          } finally {
            rmSync(folder, { recursive: true, force: true });
          }
        }),
        { numRuns: Math.ceil(RUNS / (kind.isLarge === true ? 20 : 4)) },
      );
    });
  }
});
