/** Using an image through an overlay, and what stands in the way of that. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openOverlaid, type OverlaidImage } from '../../src/block/overlay.js';
import { readDisk } from './disk-reading.js';
import { hashes } from './hashes.js';
import { pattern } from './made-disk.js';

const MIB = 1024 * 1024;

/** What the tests write. */
export const DATA = pattern(100_000, 3);

type Options = Parameters<typeof openOverlaid>[1];

type Device = OverlaidImage['image']['device'];

/** Opens `image` with `overlay` on top, for writing unless told otherwise. */
export function openWith(
  image: string,
  overlay: string,
  options: Partial<Options> = {},
): OverlaidImage {
  const all = { readOnly: false, lock: true, ...options };
  return openOverlaid(image, all, { kind: 'file', path: overlay });
}

/** Opens, has `use` use the disk, and closes; what was to be noticed. */
export function inOverlay(
  image: string,
  overlay: string,
  use: (device: Device) => void,
  options: Partial<Options> = {},
): readonly string[] {
  const { image: opened } = openWith(image, overlay, options);
  try {
    use(opened.device);
  } finally {
    opened.device.close();
  }
  return opened.notices;
}

/** Writes `DATA` over the sevens of `filledImage`. */
export const writeData = (device: Device): void => {
  device.write(DATA, 0, DATA.length, 5 * MIB + 99);
};

export const expectWritten = (device: Device): void => {
  expect(readDisk(device, 5 * MIB + 99, DATA.length).equals(DATA)).toBe(true);
  expect(readDisk(device, 5 * MIB, 99).equals(Buffer.alloc(99, 7))).toBe(true);
};

/** The error of opening; every file in `folders` stays as it is, and none comes. */
export function overlayRefusal(
  image: string,
  overlay: string,
  folders: readonly string[],
  options: Partial<Options> = {},
): Error & { code?: string } {
  const list = (): string[] =>
    folders.flatMap((folder) =>
      readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [] : [join(folder, entry.name)],
      ),
    );
  const files = list();
  const before = hashes(files);
  let failure: unknown;
  try {
    openWith(image, overlay, options).image.device.close();
  } catch (error) {
    failure = error;
  }
  expect(list()).toEqual(files);
  expect(hashes(files)).toEqual(before);
  if (failure instanceof Error) return failure;
  throw new Error(`${overlay} over ${image} was opened`);
}
