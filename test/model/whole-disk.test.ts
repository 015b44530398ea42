/** Every place of a disk can be written, from its end to its start, and nothing stays open. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';
import { pattern } from '../helpers/made-disk.js';
import { tempFolder } from '../helpers/temp-folder.js';

/** Bytes of a write: no multiple of anything. */
const PIECE = 100_003;

const descriptors = (): number => readdirSync('/proc/self/fd').length;

describe('a disk takes data everywhere', () => {
  test.each(DISK_KINDS)('$name', (kind) => {
    const made = kind.make(tempFolder());
    const parents = made.parents.map((path) => readFileSync(path));
    const before = descriptors();
    const { device } = openImage(made.image, { readOnly: false });
    const content = pattern(device.size, 77);
    for (let end = device.size; end > 0; end -= PIECE) {
      const start = Math.max(0, end - PIECE);
      device.write(content, start, end - start, start);
    }
    device.close();
    expect(descriptors()).toBe(before);
    for (const file of made.sparseFiles) {
      expect(inspectExtentFile(file)).toMatchObject({ problems: [], uncleanShutdown: 0 });
    }
    const again = openImage(made.image, { readOnly: true }).device;
    const found = Buffer.alloc(again.size);
    again.read(found, 0, found.length, 0);
    again.close();
    expect(found.equals(content)).toBe(true);
    expect(descriptors()).toBe(before);
    made.parents.forEach((path, index) => {
      expect(readFileSync(path).equals(parents[index] ?? Buffer.alloc(0)), path).toBe(true);
    });
  });
});
