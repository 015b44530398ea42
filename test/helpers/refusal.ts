import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';

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
