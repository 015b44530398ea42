import { describe, expect, test } from 'vitest';
import { formatCid, newCid, parseCid } from '../../../src/vmdk/cid.js';
import { VmdkError } from '../../../src/vmdk/vmdk-error.js';

describe('parseCid', () => {
  test.each([
    ['12345678', 0x12345678],
    ['77161c8', 0x077161c8], // as QEMU writes it
    ['0', 0],
    ['DeadBeef', 0xdeadbeef],
    ['fffffffe', 0xfffffffe],
    ['ffffffff', 0xffffffff],
  ])('reads %s', (text, cid) => {
    expect(parseCid(text, 'CID', 'disk.vmdk')).toBe(cid);
  });

  test('gives undefined where there is none', () => {
    expect(parseCid(undefined, 'CID', 'disk.vmdk')).toBeUndefined();
  });

  test.each(['', '123456789', '0x123456', 'xyz', '12 34', '-1', ' 1', '1\n'])(
    'refuses %j',
    (text) => {
      const message = `disk.vmdk: parentCID is ${JSON.stringify(text)} (one to eight hex digits expected)`;
      const parse = () => parseCid(text, 'parentCID', 'disk.vmdk');
      expect(parse).toThrow(VmdkError);
      expect(parse).toThrow(expect.objectContaining({ code: 'VMDK_BAD_DESCRIPTOR', message }));
    },
  );
});

describe('formatCid', () => {
  test.each([
    [0x077161c8, '077161c8'],
    [0xdeadbeef, 'deadbeef'],
    [1, '00000001'],
    [0xffffffff, 'ffffffff'],
  ])('of %d is %s', (cid, text) => {
    expect(formatCid(cid)).toBe(text);
  });
});

describe('newCid', () => {
  /** Gives `values` one after the other; runs out where too many are asked for. */
  function sequence(...values: number[]): () => number {
    return () => {
      const value = values.shift();
      if (value === undefined) throw new Error('no more numbers');
      return value;
    };
  }

  test('takes the first number that is neither reserved, nor 0, nor the one before', () => {
    const random = sequence(0, 0xffffffff, 0xfffffffe, 0x12345678, 0xfffffffd, 5);
    expect(newCid(0x12345678, random)).toBe(0xfffffffd);
  });

  test('takes any number where there was none before', () => {
    expect(newCid(undefined, sequence(1))).toBe(1);
  });
});
