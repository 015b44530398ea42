import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import {
  checkAndRepair,
  type CheckOptions,
  type CheckReport,
} from '../../src/block/check/check-and-repair.js';
import type { Problem } from '../../src/block/check/problem.js';
import { openImage } from '../../src/block/open-image.js';

const OPTIONS: CheckOptions = {
  permissions: {},
  disk: undefined,
  repair: false,
  lock: false,
  progress: () => undefined,
};

/** Checks `image` without locks. */
export function checkImageFile(image: string, options: Partial<CheckOptions> = {}): CheckReport {
  return checkAndRepair(image, { ...OPTIONS, ...options });
}

/** Mends what can be mended of `image`. */
export function repairImage(image: string): CheckReport {
  return checkImageFile(image, { repair: true });
}

/** What a problem says but for its words. */
export type Found = Omit<Problem, 'message' | 'repairs'>;

/** The problems of a report, without their words. */
export function foundIn(report: CheckReport): Found[] {
  return report.problems.list.map(({ diskOffset, file, grain, kind, offset, severity }) => ({
    kind,
    severity,
    file,
    ...(offset === undefined ? {} : { offset }),
    ...(grain === undefined ? {} : { grain }),
    ...(diskOffset === undefined ? {} : { diskOffset }),
  }));
}

/** The kind of an error, where it is, and its grain of so many bytes. */
export type ErrorPlace = [kind: Found['kind'], offset: number, grain?: number, grainBytes?: number];

/** What an error says of its place in `file`, and on the disk. */
export function errorAt(file: string, ...error: ErrorPlace): Found {
  const [kind, offset, grain, grainBytes = 0] = error;
  const place = grain === undefined ? {} : { grain, diskOffset: grain * grainBytes };
  return { kind, severity: 'error', file, offset, ...place };
}

/** Checks that nothing of `image` is mended, and nothing written to `file`. */
export function expectLasting(image: string, file: string): void {
  const before = readFileSync(file);
  expect(repairImage(image).mended).toEqual([]);
  expect(readFileSync(file).equals(before)).toBe(true);
}

/** All bytes of a disk. */
export function contentOf(image: string, readOnly = true): Buffer {
  const { device } = openImage(image, { readOnly });
  const bytes = Buffer.alloc(device.size);
  device.read(bytes, 0, bytes.length, 0);
  device.close();
  return bytes;
}

/** Writes `data` at `offset` of a disk, and closes it. */
export function writeDisk(image: string, data: Buffer, offset: number): void {
  const { device } = openImage(image, { readOnly: false });
  device.write(data, 0, data.length, offset);
  device.close();
}
