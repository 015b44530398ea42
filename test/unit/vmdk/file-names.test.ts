import fc from 'fast-check';
import iconv from 'iconv-lite';
import { describe, expect, test } from 'vitest';
import { bytesOfPath } from '../../../src/binary/path-text.js';
import { parseDescriptor, type Descriptor } from '../../../src/vmdk/descriptor.js';
import { decodeFileName, decodeFileNames } from '../../../src/vmdk/file-names.js';

const parse = (encoding: string): Descriptor =>
  parseDescriptor(encoding === '' ? '' : `encoding="${encoding}"`, 'disk.vmdk');

const latin1 = (hex: string): string => Buffer.from(hex, 'hex').toString('latin1');

describe('a file name', () => {
  test.each([
    ['UTF-8', 'e38386c3a9', '\u30c6\u00e9'],
    ['', 'e38386c3a9', '\u30c6\u00e9'],
    ['Shift_JIS', '8365835c', '\u30c6\u30bd'],
    ['windows-932', '8365835c', '\u30c6\u30bd'],
    ['GBK', 'b2e2', '\u6d4b'],
    ['windows-936', 'b2e2', '\u6d4b'],
    ['CP936', 'b2e2', '\u6d4b'],
    ['MS936', 'b2e2', '\u6d4b'],
    ['windows-949', 'c7d1', '\ud55c'],
    ['windows-950', 'b4fa', '\u6e2c'],
    ['Big5', 'b4fa', '\u6e2c'],
    ['IBM437', '81', '\u00fc'],
    ['IBM850', '81b5', '\u00fc\u00c1'],
    ['ISO-8859-15', 'a4', '\u20ac'],
    ['ISO-8859-2', 'b9', '\u0161'],
    ['windows-1252', '8092', '\u20ac\u2019'],
    ['windows-1251', 'cff0', '\u041f\u0440'],
    // Where it is not what the line says, or the line says nothing that is known.
    ['', 'c9e9', '\u00c9\u00e9'],
    ['UTF-8', 'e9', '\u00e9'],
    ['US-ASCII', 'c3a9', '\u00e9'],
    ['UTF-16', 'c3a9', '\u00e9'],
    ['klingon', 'c3a9', '\u00e9'],
  ])('in %j of bytes %s is %s', (encoding, hex, expected) => {
    expect(decodeFileName(`${latin1(hex)}.vmdk`, parse(encoding))).toBe(`${expected}.vmdk`);
  });

  test('has all the readings that it can have, the likeliest first', () => {
    expect(decodeFileNames(latin1('c3a9'), parse('GBK'))).toEqual([
      '\u8305',
      '\u00e9',
      '\u00c3\u00a9',
    ]);
    expect(decodeFileNames('plain.vmdk', parse('UTF-16'))).toEqual(['plain.vmdk']);
  });

  test('of any bytes has a reading, which has the bytes', () => {
    const encodings = ['', 'windows-932', 'windows-936', 'GB18030', 'windows-949', 'IBM850', 'x'];
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 20 }),
        fc.constantFrom(...encodings),
        (bytes, encoding) => {
          const name = Buffer.from(bytes).toString('latin1');
          const [first, ...others] = decodeFileNames(name, parse(encoding));
          const written = [encoding, 'utf-8', 'windows-1252', 'latin1']
            .filter((label) => iconv.encodingExists(label))
            .map((label) => iconv.encode(first, label).toString('latin1'));
          expect([...written, bytesOfPath(first).toString('latin1')]).toContain(name);
          expect(new Set([first, ...others]).size).toBe(others.length + 1);
        },
      ),
    );
  });
});
