import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { joinWindows, windowOf, type FileRange } from '../../../src/block/file-window.js';
import { HostFile } from '../../../src/block/host-file.js';
import { libcIfAny } from '../../../src/os/libc.js';
import { pattern } from '../../helpers/made-disk.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const BYTES = pattern(20_000, 1);

let fd: number;

beforeEach(() => {
  libcIfAny();
  const path = join(tempFolder(), 'file');
  writeFileSync(path, BYTES);
  fd = openSync(path, 'r');
});

afterEach(() => {
  closeSync(fd);
});

const SEGMENTS = fc.array(
  fc.record({ gap: fc.nat(300), length: fc.nat(500), place: fc.nat(19_000) }),
  { maxLength: 12 },
);

/** Ranges, what a file of them holds, and where it has data. */
function fileOf(segments: readonly { gap: number; length: number; place: number }[], tail: number) {
  const ranges: FileRange[] = [];
  let content = Buffer.alloc(0);
  for (const { gap, length, place } of segments) {
    const start = content.length + gap;
    ranges.push({ start, place, length });
    content = Buffer.concat([content, Buffer.alloc(gap), BYTES.subarray(place, place + length)]);
  }
  content = Buffer.concat([content, Buffer.alloc(tail)]);
  const isData = (at: number): boolean =>
    ranges.some(({ start, length }) => at >= start && at < start + length);
  return { ranges, content, isData };
}

describe('a file in pieces', () => {
  test('reads as what its ranges and holes say, wherever it is read', () => {
    fc.assert(
      fc.property(
        SEGMENTS,
        fc.nat(400),
        fc.nat(8000),
        fc.nat(4000),
        (segments, tail, at, length) => {
          const { content, isData, ranges } = fileOf(segments, tail);
          const window = windowOf(ranges, content.length, 7);
          const file = new HostFile({ fd, path: 'x', window });
          const bytes = Buffer.alloc(length + 2, 0xaa);
          file.read(bytes, 1, length, at);
          const expected = Buffer.alloc(length);
          content.subarray(at, at + length).copy(expected);
          expect(bytes.subarray(1, length + 1).equals(expected)).toBe(true);
          expect([bytes[0], bytes[length + 1]]).toEqual([0xaa, 0xaa]);
          expect(file.length()).toBe(content.length);
          const limit = Math.min(at + length, content.length);
          if (at >= limit) return;
          const places = Array.from({ length: limit - at }, (_, index) => at + index);
          expect(file.nextData(at, limit)).toBe(places.find(isData) ?? limit);
          expect(file.nextHole(at, limit)).toBe(places.find((each) => !isData(each)) ?? limit);
          const { end, isHole, place } = file.stretch(at, limit);
          expect(end).toBeGreaterThan(at);
          expect(isHole).toBe(!isData(at));
          if (place === undefined) expect(isHole).toBe(true);
          else {
            expect(BYTES.subarray(place, place + end - at).equals(content.subarray(at, end))).toBe(
              true,
            );
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('joined with others reads as they do, one behind the other', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(SEGMENTS, fc.nat(50)), { maxLength: 4 }), (files) => {
        const parts = files.map(([segments, tail]) => fileOf(segments, tail));
        const content = Buffer.concat(parts.map((part) => part.content));
        const windows = parts.map((part) => windowOf(part.ranges, part.content.length, 0));
        const bytes = Buffer.alloc(content.length, 0xaa);
        const file = new HostFile({ fd, path: 'x', window: joinWindows(windows) });
        file.read(bytes, 0, bytes.length, 0);
        expect(bytes.equals(content)).toBe(true);
      }),
    );
  });

  test('that is one range has no pieces', () => {
    expect(windowOf([{ start: 0, place: 9, length: 5 }], 5, 9)).toEqual({ offset: 9, length: 5 });
    const one = { offset: 100, length: 50 };
    expect(joinWindows([one, { offset: 150, length: 10 }])).toEqual({ offset: 100, length: 60 });
    expect(joinWindows([one, { offset: 160, length: 10 }]).pieces?.starts).toHaveLength(2);
  });
});
