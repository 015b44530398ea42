/** Real images of other people's tools, with the hashes they must show. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../src/block/block-device.js';
import { openImage } from '../../src/block/open-image.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import { isMissing, SAMPLES } from '../helpers/requirements.js';
import { tempFolder } from '../helpers/temp-folder.js';

interface Sample {
  readonly file: string;
  readonly subformat: string;
  readonly with: readonly { readonly file: string }[];
  readonly size: number;
  readonly raw: string;
}

interface Manifest {
  readonly images: readonly Sample[];
  readonly refused: readonly { readonly file: string; readonly why: string }[];
}

const isAbsent = isMissing('sample images', 'samples');
const manifest: Manifest = isAbsent
  ? { images: [], refused: [] }
  : (JSON.parse(readFileSync(join(SAMPLES, 'manifest.json'), 'utf8')) as Manifest);

/** Unpacks samples into a folder of the test's own; the path of the first. */
function unpack(files: readonly string[]): string {
  const folder = tempFolder();
  const paths = files.map((file) => {
    const bytes = readFileSync(join(SAMPLES, file));
    const target = join(folder, basename(file, '.gz'));
    writeFileSync(target, file.endsWith('.gz') ? gunzipSync(bytes) : bytes);
    return target;
  });
  return paths[0] ?? '';
}

function hashOf(device: BlockDevice): string {
  const hash = createHash('sha256');
  const bytes = Buffer.alloc(1_000_003);
  for (let offset = 0; offset < device.size; offset += bytes.length) {
    const length = Math.min(bytes.length, device.size - offset);
    device.read(bytes, 0, length, offset);
    hash.update(bytes.subarray(0, length));
  }
  return hash.digest('hex');
}

describe.skipIf(isAbsent)('sample images', () => {
  test.each(manifest.images)('$file ($subformat) shows what it must', (sample) => {
    const image = unpack([sample.file, ...sample.with.map(({ file }) => file)]);
    const { device } = openImage(image, { readOnly: true });
    expect(device.size).toBe(sample.size);
    expect(hashOf(device)).toBe(sample.raw);
    device.close();
  });

  test.each(manifest.refused)('$file is refused: $why', ({ file }) => {
    const image = unpack([file]);
    expect(() => openImage(image, { readOnly: true })).toThrow(VmdkError);
  });
});
