import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isExtentLine, parseExtentLine } from '../../../src/vmdk/extent-line.js';
import { VmdkError } from '../../../src/vmdk/vmdk-error.js';

/** 2^53 - 1 bytes, in whole sectors. */
const SECTORS_MAX = 2 ** 44 - 1;

describe('isExtentLine', () => {
  test.each(['RW 1 FLAT "a" 0', 'rdonly\t1 SPARSE "a"', 'NoAccess 1 ZERO', 'RW nonsense'])(
    'holds for %j',
    (line) => {
      expect(isExtentLine(line)).toBe(true);
    },
  );

  test.each(['RWX 1 FLAT "a"', 'RW=1', '# RW 1 FLAT "a"', 'CID=12345678', 'WR 1 FLAT "a"', ''])(
    'does not hold for %j',
    (line) => {
      expect(isExtentLine(line)).toBe(false);
    },
  );
});

describe('parseExtentLine', () => {
  test('counts size and offset in bytes', () => {
    expect(parseExtentLine('RW 4192256 FLAT "disk-f001.vmdk" 63', 7, 'disk.vmdk')).toEqual({
      access: 'RW',
      size: 4192256 * 512,
      type: 'FLAT',
      fileName: 'disk-f001.vmdk',
      fileOffset: 63 * 512,
      lineNumber: 7,
    });
  });

  test.each([
    ['RW 100 SPARSE "disk-s001.vmdk"', 'RW', 'SPARSE', 'disk-s001.vmdk', 0],
    ['RDONLY 100 SPARSE "base.vmdk"', 'RDONLY', 'SPARSE', 'base.vmdk', 0],
    ['NOACCESS 100 FLAT "raw.vmdk" 5', 'NOACCESS', 'FLAT', 'raw.vmdk', 2560],
    ['RW 100 VMFS "esx-flat.vmdk"', 'RW', 'VMFS', 'esx-flat.vmdk', 0],
    ['RW 100 VMFS "esx-flat.vmdk" 0', 'RW', 'VMFS', 'esx-flat.vmdk', 0],
    ['RW 100 VMFS "esx-flat.vmdk" 16', 'RW', 'VMFS', 'esx-flat.vmdk', 8192],
    ['RW 100 ZERO', 'RW', 'ZERO', '', 0],
    ['RW 100 ZERO ""', 'RW', 'ZERO', '', 0],
    ['RW 100 ZERO "unused"', 'RW', 'ZERO', 'unused', 0],
    ['rw\t100   flat  "Mixed Case.VMDK"\t1', 'RW', 'FLAT', 'Mixed Case.VMDK', 512],
    ['RW 100 FLAT "# 1 = 2.vmdk" 0', 'RW', 'FLAT', '# 1 = 2.vmdk', 0],
    ['RW 100 FLAT "/dev/sda" 9 3f20e2a1-0000 disk0', 'RW', 'FLAT', '/dev/sda', 4608],
    ['RW 100 SESPARSE "x-sesparse.vmdk"', 'RW', 'SESPARSE', 'x-sesparse.vmdk', 0],
  ])('reads %j', (line, access, type, fileName, fileOffset) => {
    expect(parseExtentLine(line, 1, 'disk.vmdk')).toEqual({
      access,
      size: 51200,
      type,
      fileName,
      fileOffset,
      lineNumber: 1,
    });
  });

  test.each([
    'RW FLAT "a.vmdk" 0',
    'RW -1 FLAT "a.vmdk" 0',
    'RW 1.5 FLAT "a.vmdk" 0',
    'RW 0x10 FLAT "a.vmdk" 0',
    'RW 100',
    'RW 100 FLAT a.vmdk 0',
    'RW 100 FLAT "a.vmdk',
    'RW 100 FLAT "a.vmdk" zero',
    'RW 100 FLAT "a.vmdk" -1',
    'RW 100 FLAT',
    'RW 100 FLAT ""',
    'RW 0 FLAT "a.vmdk" 0',
    `RW ${SECTORS_MAX + 1} FLAT "a.vmdk" 0`,
    `RW ${SECTORS_MAX} FLAT "a.vmdk" 1`,
    `RW 1 FLAT "a.vmdk" ${SECTORS_MAX}`,
    'RW 18446744073709551615 FLAT "a.vmdk" 0',
  ])('refuses %j', (line) => {
    expect(() => parseExtentLine(line, 3, 'disk.vmdk')).toThrow(
      expect.objectContaining({ code: 'VMDK_BAD_EXTENT_LINE', file: 'disk.vmdk' }),
    );
  });

  test.each(['SPARSE', 'VMFS', 'VMFSSPARSE'])('ends a name of %s with its line', (type) => {
    const line = parseExtentLine(`RW 100 ${type} "a disk.vmdk`, 1, 'disk.vmdk');
    expect(line).toMatchObject({ type, fileName: 'a disk.vmdk', fileOffset: 0, size: 51200 });
  });

  test('of no zeros is none', () => {
    expect(parseExtentLine('RW 0 ZERO', 1, 'disk.vmdk')).toBeUndefined();
  });

  test('accepts the largest size whose bytes are exact', () => {
    const line = parseExtentLine(`RW ${SECTORS_MAX} ZERO`, 1, 'disk.vmdk');
    expect(line?.size).toBe(Number.MAX_SAFE_INTEGER - 511);
  });

  test('names file, line and text in its refusal', () => {
    expect(() => parseExtentLine('RW 0 FLAT "a" 0', 3, 'disk.vmdk')).toThrow(
      'disk.vmdk: descriptor line 3 is not an extent line: "RW 0 FLAT \\"a\\" 0" ' +
        `(size and offset from 1 to ${SECTORS_MAX} sectors expected)`,
    );
  });

  test('shows only the start of a long line', () => {
    const line = `RW ${'x'.repeat(5000)}`;
    expect(() => parseExtentLine(line, 3, 'disk.vmdk')).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^.{150,250}$/) as string }),
    );
  });

  test('refuses anything else with a VmdkError and nothing but one', () => {
    const rest = fc.string({ unit: fc.constantFrom(...Array.from('0129 "\t-FLATZEROx.\u00e9')) });
    fc.assert(
      fc.property(fc.constantFrom('RW ', 'RDONLY '), rest, (access, tail) => {
        try {
          const line = parseExtentLine(access + tail, 1, 'disk.vmdk');
          const { fileOffset = 0, size = 512 } = line ?? {};
          expect(size).toBeGreaterThanOrEqual(512);
          expect(Number.isSafeInteger(size + fileOffset)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(VmdkError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
