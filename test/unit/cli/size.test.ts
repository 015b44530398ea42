import { describe, expect, test } from 'vitest';
import { formatSize, parseSize } from '../../../src/cli/size.js';
import { UsageError } from '../../../src/mount/mount-error.js';

describe('parseSize', () => {
  test.each([
    ['512', 512],
    ['512B', 512],
    ['1K', 1024],
    ['1k', 1024],
    ['20G', 21_474_836_480],
    ['20g', 21_474_836_480],
    ['20GB', 21_474_836_480],
    ['20GiB', 21_474_836_480],
    ['20gib', 21_474_836_480],
    ['1.5T', 1_649_267_441_664],
    ['0.5M', 524_288],
    ['0.3K', 307],
    ['62T', 68_169_720_922_112],
    ['7P', 7_881_299_347_898_368],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each([
    ...['', ' ', 'G', '20 G', ' 20G', '20G ', '20X', '20GG', '20Gi', '-1G', '+1G'],
    ...['1,5G', '.5G', '1.G', '1.5.0G', '1e3', '0x10', 'Infinity', 'NaN', '20G\n'],
    ...['0', '0G', '0.0001', '8P', '9007199254740992', '9'.repeat(400)],
  ])('refuses %j', (text) => {
    expect(() => parseSize(text)).toThrow(UsageError);
  });

  test('names what it refuses', () => {
    expect(() => parseSize('20 G')).toThrow(
      '"20 G" is not a size (a number with K, M, G, T or P expected)',
    );
  });
});

describe('formatSize', () => {
  test.each([
    [0, '0 bytes'],
    [512, '512 bytes'],
    [1023, '1023 bytes'],
    [1024, '1 KiB (1024 bytes)'],
    [1536, '1.5 KiB (1536 bytes)'],
    [21_474_836_480, '20 GiB (21474836480 bytes)'],
    [1_649_267_441_664, '1.5 TiB (1649267441664 bytes)'],
    [2 ** 40 - 512, '1024 GiB (1099511627264 bytes)'],
    [10_000 * 2 ** 20, '9.766 GiB (10485760000 bytes)'],
    [7 * 2 ** 50, '7 PiB (7881299347898368 bytes)'],
  ])('of %d is %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});
