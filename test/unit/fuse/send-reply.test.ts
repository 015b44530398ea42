/** Replies that the kernel refuses, over a device that refuses them. */
import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { sendReply } from '../../../src/fuse/kernel/serve.js';
import { FakeFileSystem } from '../../helpers/fake-file-system.js';
import { exchangeOver, failed, frame, littleEndian } from '../../helpers/frames.js';

const { EINVAL, ENOENT, ENOMEM } = constants.errno;

const OPEN = frame(14, littleEndian(2, 8)); // O_RDWR

/** An OPEN whose first reply is refused with `errno`, and what was sent after that. */
function refusedOpen(errno: number) {
  const fileSystem = new FakeFileSystem();
  const { ask, exchange, lines } = exchangeOver(fileSystem);
  const replies: number[][] = [];
  const send = (reply: Uint8Array, length: number): number => {
    replies.push([...reply.subarray(0, length)]);
    return replies.length === 1 ? errno : 0;
  };
  const length = ask(OPEN).length;
  sendReply({ send }, exchange, length);
  return { calls: fileSystem.calls, lines, replies };
}

describe('a reply to OPEN that the kernel refuses', () => {
  test.each([EINVAL, ENOMEM])('with errno %i is undone, and answered with EIO', (errno) => {
    const { calls, lines, replies } = refusedOpen(errno);
    expect(calls).toEqual([
      ['open', 2, 2, Infinity],
      ['undoOpen', 2, 2, 0],
    ]);
    expect(replies.slice(1)).toEqual([failed('EIO')]);
    expect(lines).toEqual([
      expect.stringMatching(new RegExp(`refused a reply of 32 bytes with errno ${errno}$`)),
    ]);
  });

  test('because nobody waits for it (ENOENT) is undone, and nothing more is said', () => {
    const { calls, lines, replies } = refusedOpen(ENOENT);
    expect(calls.at(-1)).toEqual(['undoOpen', 2, 2, 0]);
    expect(replies).toHaveLength(1);
    expect(lines).toEqual([]);
  });
});
