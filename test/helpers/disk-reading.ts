/** Reading a disk in a test, and what goes wrong when it is used. */
import { expect, onTestFinished } from 'vitest';
import type { BlockDevice } from '../../src/block/block-device.js';
import { openImage } from '../../src/block/open-image.js';
import { toErrno } from '../../src/errno.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';

/** Opens an image until the test has finished. */
export function openDisk(image: string, readOnly = true): BlockDevice {
  const { device } = openImage(image, { readOnly });
  onTestFinished(() => {
    device.close();
  });
  return device;
}

/** Reads `length` bytes, and nothing around them. */
export function readDisk(device: BlockDevice, offset: number, length: number): Buffer {
  const target = Buffer.alloc(length + 16, 0xdd);
  device.read(target, 8, length, offset);
  expect(target.subarray(0, 8).equals(Buffer.alloc(8, 0xdd))).toBe(true);
  expect(target.subarray(8 + length).equals(Buffer.alloc(8, 0xdd))).toBe(true);
  return target.subarray(8, 8 + length);
}

/** All that a disk holds. */
export function readAll(image: string): Buffer {
  const { device } = openImage(image, { readOnly: true });
  try {
    return readDisk(device, 0, device.size);
  } finally {
    device.close();
  }
}

/** The stretches of data that a device tells. */
export function dataOf(device: BlockDevice): [number, number][] {
  const ranges: [number, number][] = [];
  for (let at = 0; ;) {
    const start = device.nextData(at, device.size);
    if (start === device.size) return ranges;
    at = device.nextHole(start, device.size);
    ranges.push([start, at]);
  }
}

/** The whole disk, then reads of any length anywhere. */
export function expectContent(image: string, content: Buffer): void {
  const device = openDisk(image);
  expect(device.size).toBe(content.length);
  expect(readDisk(device, 0, content.length).equals(content)).toBe(true);
  let state = 5;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let round = 0; round < 150; round++) {
    const offset = random(content.length);
    const length = Math.min(content.length - offset, 1 + random(round % 3 === 0 ? 300_000 : 6000));
    const wanted = content.subarray(offset, offset + length);
    expect(readDisk(device, offset, length).equals(wanted)).toBe(true);
  }
}

/** The errno of what `step` throws; 0 where it does not. */
export function errnoOf(step: () => void): number {
  try {
    step();
  } catch (error) {
    return toErrno(error);
  }
  return 0;
}

/** The error of `step`, which has to be one of an image. */
export function errorOf(step: () => void): VmdkError {
  try {
    step();
  } catch (error) {
    if (error instanceof VmdkError) return error;
    throw error;
  }
  throw new Error('nothing was wrong');
}
