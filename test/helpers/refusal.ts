import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import { tempFolder } from './temp-folder.js';

const MIB = 1024 * 1024;

/** A new image `disk.vmdk` of 64 MiB in a folder of the test's own, with 3 MiB of sevens at 5 MiB. */
export function filledImage(): { folder: string; image: string } {
  const folder = tempFolder();
  const image = join(folder, 'disk.vmdk');
  createImage(image, { size: 64 * MIB, backing: undefined });
  const { device } = openImage(image, { readOnly: false });
  device.write(Buffer.alloc(3 * MIB, 7), 0, 3 * MIB, 5 * MIB);
  device.close();
  return { folder, image };
}

/** The error of opening `path`, which has to fail with one, and leave the file as it was. */
export function refusal(path: string, readOnly: boolean): VmdkError {
  const before = hash(path);
  try {
    openImage(path, { readOnly }).device.close();
  } catch (error) {
    expect(hash(path)).toBe(before);
    if (error instanceof VmdkError) return error;
    throw error;
  }
  throw new Error(`${path} was opened`);
}

function hash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
