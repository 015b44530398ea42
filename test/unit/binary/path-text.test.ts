import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bytesOfPath,
  isPlainText,
  pathOfBytes,
  visiblePath,
} from '../../../src/binary/path-text.js';

/** Bytes of paths: text, pieces of characters, and what is never in UTF-8. */
const pieces = fc.array(
  fc.oneof(
    fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
    fc.constantFrom(
      Buffer.from('c3', 'hex'),
      Buffer.from('eda080', 'hex'),
      Buffer.from('edb3a9', 'hex'),
      Buffer.from('f09f98', 'hex'),
      Buffer.from('c080', 'hex'),
    ),
  ),
);

describe('a path as text', () => {
  test('leads back to its bytes, whatever they are', () => {
    fc.assert(
      fc.property(pieces, (parts) => {
        const bytes = Buffer.concat(parts);
        expect(bytesOfPath(pathOfBytes(bytes))).toEqual(bytes);
      }),
    );
  });

  test('is itself where it is text, with all characters', () => {
    for (const text of ['', '/a/b', 'café', '日本', 'smile 😀', '\ufffd', 'e\u0301']) {
      expect(pathOfBytes(Buffer.from(text))).toBe(text);
      expect(isPlainText(text)).toBe(true);
      expect(bytesOfPath(text)).toEqual(Buffer.from(text));
      expect(visiblePath(text)).toBe(text);
    }
  });

  test('shows the bytes that are no text, and is joined as text is', () => {
    const path = pathOfBytes(Buffer.from('/caf\xe9/\xff', 'latin1'));
    expect(isPlainText(path)).toBe(false);
    expect(visiblePath(path)).toBe('/caf\\xE9/\\xFF');
    expect(path.split('/')).toEqual(['', 'caf\udce9', '\udcff']);
    expect(bytesOfPath(JSON.parse(JSON.stringify(path)) as string)).toEqual(bytesOfPath(path));
  });
});
