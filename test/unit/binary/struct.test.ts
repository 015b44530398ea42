import { describe, expect, test } from 'vitest';
import { bytes, struct, u16, u32, u64, u8, viewOf } from '../../../src/binary/struct.js';

const Sample = struct('Sample', 20, { tag: u8, kind: u16, id: u64, name: bytes(5), size: u32 });

// Starts at byte 2 of its array: neither the struct nor a field is aligned.
const BASE = 2;
const BYTES = [
  ...[0xaa, 0xaa], // before the struct
  ...[0x7f], // tag
  ...[0x34, 0x12], // kind
  ...[0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00], // id
  ...[0x68, 0x65, 0x6c, 0x6c, 0x6f], // name
  ...[0xef, 0xbe, 0xad, 0xde], // size
  ...[0xaa, 0xaa], // behind the struct
];

describe('struct', () => {
  test('lays fields out in their order, without padding', () => {
    const { tag, kind, id, name, size } = Sample;
    expect([tag, kind, id, name, size].map((field) => field.offset)).toEqual([0, 1, 3, 11, 16]);
    expect(Sample.byteLength).toBe(20);
    expect(name.size).toBe(5);
  });

  test('refuses a size that the fields do not add up to', () => {
    expect(() => struct('Short', 8, { a: u32, b: u16 })).toThrow(
      new RangeError('Short is 6 bytes, not 8'),
    );
    expect(() => struct('Long', 3, { a: u32 })).toThrow(new RangeError('Long is 4 bytes, not 3'));
  });

  test('reads little-endian numbers from where the struct begins', () => {
    const view = viewOf(Uint8Array.from(BYTES));
    expect(Sample.tag.get(view, BASE)).toBe(0x7f);
    expect(Sample.kind.get(view, BASE)).toBe(0x1234);
    expect(Sample.id.get(view, BASE)).toBe(0x0011223344556677);
    expect(Sample.size.get(view, BASE)).toBe(0xdeadbeef);
  });

  test('writes exactly the bytes of each field', () => {
    const array = Uint8Array.from(BYTES, () => 0xaa);
    const view = viewOf(array);
    Sample.tag.set(view, BASE, 0x7f);
    Sample.kind.set(view, BASE, 0x1234);
    Sample.id.set(view, BASE, 0x0011223344556677);
    Sample.size.set(view, BASE, 0xdeadbeef);
    const name = BASE + Sample.name.offset;
    array.set(Buffer.from('hello'), name);
    expect([...array]).toEqual(BYTES);
  });
});

describe('u64', () => {
  const { value } = struct('Number', 8, { value: u64 });

  test.each([
    [0, '0000000000000000'],
    [0xffffffff, 'ffffffff00000000'],
    [2 ** 32, '0000000001000000'],
    [2 ** 32 + 1, '0100000001000000'],
    [2 ** 52 + 1, '0100000000001000'],
    [Number.MAX_SAFE_INTEGER, 'ffffffffffff1f00'],
  ])('%d is %s in the file', (number, hex) => {
    const array = new Uint8Array(8);
    value.set(viewOf(array), 0, number);
    expect(Buffer.from(array).toString('hex')).toBe(hex);
    expect(value.get(viewOf(Buffer.from(hex, 'hex')), 0)).toBe(number);
  });

  test('rounds what is above 2^53 and never makes it small or negative', () => {
    const read = (hex: string): number => value.get(viewOf(Buffer.from(hex, 'hex')), 0);
    expect(read('ffffffffffffffff')).toBe(2 ** 64);
    expect(read('0000000000000080')).toBe(2 ** 63);
    expect(read('0df0adbaefbeadde')).toBe(Number(0xdeadbeefbaadf00dn));
  });
});

describe('viewOf', () => {
  test('shows the bytes of a part of a buffer, and only those', () => {
    const part = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]).subarray(2, 6);
    const view = viewOf(part);
    expect(view.byteLength).toBe(4);
    expect(view.getUint32(0, true)).toBe(0x06050403);
    view.setUint8(1, 0xff);
    expect([...part]).toEqual([3, 0xff, 5, 6]);
  });
});
