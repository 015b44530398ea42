import { expect, test } from 'vitest';
import { parseOptions } from '../../bench/options.js';

test('has defaults', () => {
  expect(parseOptions([], '/home')).toMatchObject({
    runs: 5,
    only: '',
    bytes: 2 * 1024 ** 3,
    seconds: 4,
    floor: undefined,
    write: false,
  });
});

test('takes paths from where the user is', () => {
  const options = parseOptions(['--folder', 'images', '--floor', '/c/floor.c'], '/home');
  expect(options).toMatchObject({ folder: '/home/images', floor: '/c/floor.c' });
});

test.each([
  ...[
    ['--runs', '0'],
    ['--runs', '1.5'],
    ['--runs', 'x'],
    ['--runs', ''],
  ],
  ...[
    ['--runtime', '-1'],
    ['--runtime', 'Infinity'],
  ],
  ...[['--size', '1.5K'], ['--size', 'big'], ['--unknown'], ['stray']],
])('refuses %s %s', (...args) => {
  expect(() => parseOptions(args)).toThrow();
});
