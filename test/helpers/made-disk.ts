/** What every kind of disk that tests make has in common. */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { writeDescriptor } from './images.js';

const SECTOR = 512;

/** A disk that was just made. */
export interface MadeDisk {
  readonly image: string;
  /** Files of sparse extents that are written to, of whatever format: see `inspectExtentFile`. */
  readonly sparseFiles: readonly string[];
  /** Files that must stay as they are. */
  readonly parents: readonly string[];
  /** What the disk holds. */
  readonly content: Buffer;
}

export interface DiskKind {
  readonly name: string;
  /** Whether it is so large that a test should not make many of it. */
  readonly isLarge?: true;
  make(folder: string): MadeDisk;
}

/** Bytes that differ from place to place and are never zero. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = ((index * 31 + seed * 17) % 255) + 1;
  return bytes;
}

/** Grains of `grainBytes`, full of a pattern, by their numbers. */
export function grainsOf(grainBytes: number, ...grains: readonly number[]): Map<number, Buffer> {
  return new Map(grains.map((grain) => [grain, pattern(grainBytes, grain + 7)]));
}

/**
 * What a disk of `sectors` holds: `grains`, and zeros where a grain is in `zeroed`, over what lies
 * beneath, which may be shorter or longer.
 */
export function contentOf(
  sectors: number,
  grainBytes: number,
  grains: ReadonlyMap<number, Buffer>,
  beneath: Buffer = Buffer.alloc(0),
  zeroed: Iterable<number> = [],
): Buffer {
  const content = Buffer.alloc(sectors * SECTOR);
  beneath.copy(content);
  const clear = (grain: number): void => {
    content.fill(0, grain * grainBytes, Math.min(content.length, (grain + 1) * grainBytes));
  };
  for (const grain of zeroed) clear(grain);
  for (const [grain, bytes] of grains) {
    clear(grain);
    bytes.copy(content, grain * grainBytes);
  }
  return content;
}

/** A parent with a file. */
export interface MadeParent {
  readonly image: string;
  readonly files: readonly string[];
  readonly content: Buffer;
}

/** A disk of one flat extent, full of a pattern: `stem.vmdk` and `stem-flat.vmdk`. */
export function flatParent(folder: string, stem: string, bytes: number): MadeParent {
  const content = pattern(bytes, 1);
  const image = join(folder, `${stem}.vmdk`);
  const file = join(folder, `${stem}-flat.vmdk`);
  writeFileSync(file, content);
  writeDescriptor(image, [`RW ${bytes / SECTOR} FLAT "${basename(file)}" 0`]);
  return { image, files: [image, file], content };
}
