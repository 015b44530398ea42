import { expect, test } from 'vitest';
import { parseUserNames, userName } from '../../../src/os/user-name.js';

test('names of users are found by number, and what is no line of a user is passed over', () => {
  const names = parseUserNames(
    'root:x:0:0::/root:/bin/sh\n\n+::::::\nme:x:1000:1000\nalso:x:1000:1\n',
  );
  expect([...names]).toEqual([
    [0, 'root'],
    [1000, 'me'],
  ]);
});

test('a user that nobody has has no name', () => {
  expect(userName(2 ** 32 - 3)).toBeUndefined();
});
