import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { compressibleFilling, randomFilling, shuffled } from '../../bench/filling.js';

const MIB = 1024 * 1024;
const BYTES = 4 * MIB + 512;

/** Of a list each digest once. */
function digests(grains: readonly Uint8Array[]): Set<string> {
  return new Set(grains.map((grain) => createHash('sha1').update(grain).digest('hex')));
}

describe('compressibleFilling', () => {
  const grains = [...compressibleFilling(BYTES)];
  const all = Buffer.concat(grains);

  test('fills all of the disk, whatever its size, and the same way every time', () => {
    expect(all.length).toBe(BYTES);
    expect(all.equals(Buffer.concat([...compressibleFilling(BYTES)]))).toBe(true);
  });

  test('compresses grain by grain to between a third and a half', () => {
    const compressed = grains.reduce((sum, grain) => sum + deflateSync(grain).length, 0);
    expect(all.length / compressed).toBeGreaterThan(2);
    expect(all.length / compressed).toBeLessThan(3);
  });

  test('has no grain twice', () => {
    expect(digests(grains).size).toBe(grains.length);
  });
});

test('randomFilling fills all of the disk, whatever its size', () => {
  expect(Buffer.concat([...randomFilling(BYTES)]).length).toBe(BYTES);
  expect(Buffer.concat([...randomFilling(17 * MIB)]).length).toBe(17 * MIB);
});

test('shuffled has every number once, always in the same order without order', () => {
  const numbers = shuffled(1000);
  const inOrder = Array.from({ length: 1000 }, (_, index) => index);
  expect([...numbers].sort((one, other) => one - other)).toEqual(inOrder);
  expect(shuffled(1000)).toEqual(numbers);
  const neighbours = numbers.filter((number, index) => number + 1 === numbers[index + 1]);
  expect(neighbours.length).toBeLessThan(10);
  expect(shuffled(0)).toEqual([]);
});
