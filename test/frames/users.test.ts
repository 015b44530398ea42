import { describe, expect, test } from 'vitest';
import { FakeFileSystem } from '../helpers/fake-file-system.js';
import { exchangeOver, failed, frame, numberAt, VALID_REQUESTS } from '../helpers/frames.js';

const USER = 1000;
const OTHERS = [1, 999, 1001, 0xffffffff];

/** What needs no more right than the handle it works on, or has no reply. */
const FREE = [
  'FORGET',
  'READ',
  'WRITE',
  'RELEASE',
  'FSYNC',
  'FLUSH',
  'READDIR',
  'RELEASEDIR',
  'FSYNCDIR',
  'INTERRUPT',
  'DESTROY',
  'BATCH_FORGET',
  'FALLOCATE',
  'READDIRPLUS',
  'LSEEK',
];

const freed = VALID_REQUESTS.filter(({ name }) => FREE.includes(name));
const guarded = VALID_REQUESTS.filter(({ name }) => !FREE.includes(name));

describe('a mount of one user and root', () => {
  test.each(guarded)('refuses $name to others', ({ body, nodeid, opcode }) => {
    const fileSystem = new FakeFileSystem();
    const { ask, lines } = exchangeOver(fileSystem, { onlyUser: USER });
    const answers = OTHERS.map((uid) => ask(frame(opcode, body, { nodeid, uid })));
    expect(answers).toEqual(OTHERS.map(() => failed('EACCES')));
    expect(fileSystem.calls).toEqual([]);
    expect(lines).toEqual([]);
  });

  test.each(VALID_REQUESTS)('serves $name to both as it does to all', (request) => {
    const serve = (onlyUser: number | undefined, uid: number): unknown => {
      const fileSystem = new FakeFileSystem();
      const { ask } = exchangeOver(fileSystem, { onlyUser });
      const reply = ask(frame(request.opcode, request.body, { nodeid: request.nodeid, uid }));
      return { reply, calls: fileSystem.calls };
    };
    const expected = serve(undefined, 1001);
    expect(serve(USER, USER)).toEqual(expected);
    expect(serve(USER, 0)).toEqual(expected);
  });

  test.each(freed)('lets others use a handle, or be silent ($name)', (request) => {
    const { ask } = exchangeOver(new FakeFileSystem(), { onlyUser: USER });
    const reply = ask(frame(request.opcode, request.body, { nodeid: request.nodeid, uid: 1001 }));
    if (request.isSilent) expect(reply).toEqual([]);
    else expect(numberAt(reply, 4, 4)).toBe(0);
  });

  test('of root lets nobody else in', () => {
    const { ask } = exchangeOver(new FakeFileSystem(), { onlyUser: 0 });
    const getattr = (uid: number): number[] => ask(frame(3, Array<number>(16).fill(0), { uid }));
    expect(getattr(0)).toHaveLength(120);
    expect(getattr(1)).toEqual(failed('EACCES'));
  });

  test('answers a malformed request of others with EINVAL, an unknown one with ENOSYS', () => {
    const { ask } = exchangeOver(new FakeFileSystem(), { onlyUser: USER });
    expect(ask(frame(3, [], { uid: 1001 }))).toEqual(failed('EINVAL'));
    expect(ask(frame(99, [], { uid: 1001 }))).toEqual(failed('ENOSYS'));
  });
});
