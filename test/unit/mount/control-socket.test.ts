import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  askServer,
  connectControl,
  ControlServer,
  isRefused,
  type Answers,
} from '../../../src/mount/control-socket.js';
import { runtimeFolder } from '../../../src/mount/runtime-folder.js';
import type { MountEntry } from '../../../src/os/mount-table.js';
import { run } from '../../helpers/run.js';

let serial = 0;

/** A mount that is none, of this user. */
function newEntry(): MountEntry {
  const device = `test${process.pid}:${(serial += 1)}`;
  const userId = process.getuid?.() ?? 0;
  return { id: serial, device, mountpoint: '/nowhere', type: 'fuse.vmdkfs', source: 'x', userId };
}

async function listen(entry: MountEntry, answers: Answers): Promise<ControlServer> {
  const server = await ControlServer.listen(entry.device, answers);
  onTestFinished(() => server.report({}));
  return server;
}

/** Where the socket of a mount of ours is. */
function socketOf({ device, userId }: MountEntry): string {
  const runtime = userId === 0 ? '/run' : `/run/user/${userId}`;
  const folder = existsSync(runtime) ? join(runtime, 'vmdkfs') : `/tmp/vmdkfs-${userId}`;
  const name = readdirSync(folder).find((each) => each.startsWith(`${device.replace(':', '-')}.`));
  return join(folder, name ?? `${device.replace(':', '-')}.1.1.sock`);
}

function newClient(entry: MountEntry): Socket {
  const socket = connect(socketOf(entry));
  socket.on('error', () => socket.destroy());
  onTestFinished(() => {
    socket.destroy();
  });
  return socket;
}

/** Everything that comes until the connection ends. */
async function textOf(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

describe('the control socket', () => {
  test('answers a question with one line, as often as it is asked', async () => {
    const entry = newEntry();
    let count = 0;
    await listen(entry, { status: () => ({ count: (count += 1) }) });
    expect(await askServer(entry, 'status')).toEqual({ kind: 'line', line: '{"count":1}' });
    const answers = await Promise.all([1, 2, 3].map(() => askServer(entry, 'status')));
    expect(answers.map(({ kind }) => kind)).toEqual(['line', 'line', 'line']);
    expect(count).toBe(4);
  });

  test('says nothing to who says nothing, until the image is closed', async () => {
    const entry = newEntry();
    const server = await listen(entry, { status: () => 1 });
    const silent = await connectControl(entry);
    await askServer(entry, 'status');
    await server.report({ error: 'disk full' });
    expect('closed' in silent && (await silent.closed)).toEqual({ error: 'disk full' });
    expect(await askServer(entry, 'status')).toEqual({ kind: 'absent' });
    expect(await connectControl(entry)).toEqual({ failure: 'absent', pid: undefined });
  });

  test.each([
    ['{"ask":"toString"}', /^\{"error":"nothing that can be asked for"\}\n$/],
    ['{"ask":["status"]', /^\{"error":".+"\}\n$/],
    ['null', /^\{"error":"nothing that can be asked for"\}\n$/],
    ['', /^\{"error":".+"\}\n$/],
    ['{"ask":"broken"}', /^\{"error":"out of order"\}\n$/],
  ])('answers %j with an error', async (line, expected) => {
    const entry = newEntry();
    await listen(entry, {
      status: () => 1,
      broken: () => {
        throw new Error('out of order');
      },
    });
    const client = newClient(entry);
    client.write(`${line}\n`);
    expect(await textOf(client)).toMatch(expected);
  });

  test('cuts off who sends too much, and goes on', async () => {
    const entry = newEntry();
    await listen(entry, { status: () => 1 });
    for (const text of ['x'.repeat(1_000_000), `{"ask":"status"${' '.repeat(1000)}}\n`]) {
      const client = newClient(entry);
      client.write(text);
      expect(await textOf(client)).toBe('');
    }
    expect(await askServer(entry, 'status')).toEqual({ kind: 'line', line: '1' });
  });

  test('waits for neither end for ever', async () => {
    const entry = newEntry();
    await listen(entry, { status: () => 1 });
    const slow = newClient(entry);
    slow.write('{"ask":');
    const deaf = newEntry();
    mkdirSync(dirname(socketOf(deaf)), { recursive: true, mode: 0o700 });
    const server = createServer(() => undefined).listen(socketOf(deaf));
    onTestFinished(() => {
      server.close();
    });
    await once(server, 'listening');
    const [text, answer] = await Promise.all([textOf(slow), askServer(deaf, 'status')]);
    expect(text).toBe('');
    expect(answer).toEqual({ kind: 'silent' });
  }, 60_000);

  test('of a mount that has the device number of an earlier one is not the one before', async () => {
    const entry = newEntry();
    const late = await listen(entry, { status: () => 'late' });
    const next = await listen(entry, { status: () => 'next' });
    expect(await askServer(entry, 'status')).toEqual({ kind: 'line', line: '"next"' });
    await late.report({});
    expect(await askServer(entry, 'status')).toEqual({ kind: 'line', line: '"next"' });
    await next.report({});
    expect(await askServer(entry, 'status')).toEqual({ kind: 'absent' });
  });

  test('that a dead server has left is removed by the next one with its number', async () => {
    const entry = newEntry();
    await (await listen(entry, { status: () => 1 })).report({});
    const dead = socketOf(entry);
    const script = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
    await run(process.execPath, ['-e', script, dead]);
    expect(await askServer(entry, 'status')).toEqual({ kind: 'refused' });
    expect(await isRefused(entry)).toBe(true);
    await listen(entry, { status: () => 1 });
    expect(existsSync(dead)).toBe(false);
    expect(await isRefused(entry)).toBe(false);
    expect(await askServer(entry, 'status')).toEqual({ kind: 'line', line: '1' });
  });

  test('takes no more of an answer than it has to', async () => {
    const entry = newEntry();
    await listen(entry, { status: () => 'x'.repeat(1_000_000) });
    expect(await askServer(entry, 'status')).toEqual({ kind: 'silent' });
  });
});

test.skipIf(process.getuid?.() !== 0)(
  'a folder that somebody else has made is not believed',
  async () => {
    // A user that this machine does not have, whose folder root makes in their place.
    const userId = 4_000_000_000 + process.pid;
    const folder = runtimeFolder(userId);
    mkdirSync(folder);
    let asked = 0;
    const server = createServer((socket) => {
      asked += 1;
      socket.end('{}\n');
    });
    onTestFinished(() => {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const entry = { ...newEntry(), device: '0:99', userId };
    server.listen(join(folder, '0-99.1.1.sock'));
    await once(server, 'listening');
    expect(await connectControl(entry)).toMatchObject({ failure: 'absent' });
    expect(await askServer(entry, 'status')).toEqual({ kind: 'absent' });
    expect(asked).toBe(0);
  },
);
