/** What those want of a server who start it by machine: pid file, readiness, log. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Datagrams } from '../helpers/datagrams.js';
import { serveInForeground } from '../helpers/foreground.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { processesWith } from '../helpers/processes.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const SOON_MS = 90_000;

// At the lowest priority on a busy machine a single command takes many seconds.
vi.setConfig({ testTimeout: 240_000 });

const DONE: Outcome = { code: 0, stdout: '', stderr: '' };

/** A time as in a log file. */
const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;

let folder: string;
let image: string;
let mountpoint: string;

beforeEach(async () => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  mountpoint = join(folder, 'mnt');
  mkdirSync(mountpoint);
  onTestFinished(async () => {
    if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
  });
  expect((await vmdkfs('create', image, '--size', '16M')).code).toBe(0);
});

/** Mounts, which has to fail with `code` and one line, and with nothing mounted. */
async function expectRefusal(code: number, line: RegExp, ...args: readonly string[]) {
  const outcome = await vmdkfs('mount', image, mountpoint, ...args);
  expect(outcome.stderr).toMatch(line);
  expect(outcome.stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(isMountedAt(mountpoint)).toBe(false);
}

describe.skipIf(isMissing('pid files', 'fuse'))('--pid-file', () => {
  test('names the server from readiness to its end, also by a relative path', async () => {
    const options = { cwd: folder };
    const args = ['mount', image, mountpoint, '--pid-file', 'server.pid'];
    expect(await run(process.execPath, [CLI, ...args], options)).toEqual(DONE);
    const file = join(folder, 'server.pid');
    const pid = Number(readFileSync(file, 'utf8'));
    expect(readFileSync(file, 'utf8')).toBe(`${pid}\n`);
    expect(processesWith(mountpoint)).toContain(pid);
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toMatch(/^vmdkfs /);

    const second = join(folder, 'second');
    mkdirSync(second);
    const outcome = await vmdkfs('mount', '-r', image, second, '-o', `pid_file=${file}`);
    expect(outcome).toMatchObject({ code: 3, stdout: '' });
    expect(outcome.stderr).toBe(`vmdkfs: ${file}: belongs to process ${pid}, which is running\n`);
    expect(readFileSync(file, 'utf8')).toBe(`${pid}\n`);

    expect(await vmdkfs('unmount', mountpoint)).toEqual(DONE);
    await until('the file is removed', SOON_MS, () => !existsSync(file));
  });

  test('takes over the file of a server that was killed, and goes with a forced end', async () => {
    const file = join(folder, 'server.pid');
    const first = await serveInForeground(image, ['--pid-file', file]);
    await until('it is ready', SOON_MS, () => existsSync(file));
    first.child.kill('SIGKILL');
    await first.ended;
    expect(readFileSync(file, 'utf8')).toBe(`${first.child.pid ?? 0}\n`);
    const second = await serveInForeground(image, ['-o', `pid_file=${file}`]);
    const ours = `${second.child.pid ?? 0}\n`;
    await until('it is ready', SOON_MS, () => readFileSync(file, 'utf8') === ours);
    const handle = await open(second.disk);
    second.child.kill('SIGTERM');
    await until('the mount is detached', SOON_MS, () => !isMountedAt(second.mountpoint));
    second.child.kill('SIGTERM');
    expect(await second.ended).toBe(3);
    await handle.close().catch(() => undefined);
    expect(existsSync(file)).toBe(false);
  });

  test('refuses what it must not replace or cannot write', async () => {
    const file = join(folder, 'letter');
    writeFileSync(file, 'dear reader\n');
    await expectRefusal(3, /letter: is no pid file; choose another name/, '--pid-file', file);
    expect(readFileSync(file, 'utf8')).toBe('dear reader\n');
    await expectRefusal(3, /is no pid file/, '--pid-file', '/dev/zero');
    const nowhere = join(folder, 'nowhere/pid');
    await expectRefusal(4, /nowhere: no such file or directory/, '--pid-file', nowhere);
    const inside = join(mountpoint, 'pid');
    await expectRefusal(3, /lies inside the mountpoint/, '--pid-file', inside);
  });
});

describe.skipIf(isMissing('ready descriptors', 'fuse'))('--ready-fd', () => {
  test.each([['in the background', []] as const, ['in the foreground', ['-f']] as const])(
    'gets a newline and its end when the mount answers %s',
    async (_, more) => {
      const args = [CLI, 'mount', image, mountpoint, '--ready-fd', '3', ...more];
      const stdio = ['ignore', 'ignore', 'inherit', 'pipe'] as const;
      const child = spawn(process.execPath, args, { stdio: [...stdio] });
      const ended = once(child, 'exit');
      let text = '';
      child.stdio[3]!.on('data', (chunk: Buffer) => (text += chunk.toString()));
      await once(child.stdio[3]!, 'end');
      expect(text).toBe('\n');
      expect(isMountedAt(mountpoint)).toBe(true);
      expect(await vmdkfs('unmount', mountpoint)).toEqual(DONE);
      expect((await ended)[0]).toBe(0);
    },
  );

  test('gets nothing where mounting fails', async () => {
    const file = join(folder, 'ready');
    const script = 'exec 9>"$1"; shift; exec "$@"';
    const command = [process.execPath, CLI, 'mount', image, join(folder, 'no'), '--ready-fd', '9'];
    const outcome = await run('sh', ['-c', script, 'sh', file, ...command]);
    expect(outcome).toMatchObject({ code: 3, stdout: '' });
    expect(readFileSync(file, 'utf8')).toBe('');
  });

  test('has to be open for writing, and no standard one', async () => {
    for (const fd of ['3', '4', '5', '6', '7', '200']) {
      await expectRefusal(
        1,
        new RegExp(`descriptor ${fd} is not open for writing`),
        '--ready-fd',
        fd,
      );
    }
    await expectRefusal(1, /"1" is not a descriptor \(3 or more expected\)/, '--ready-fd', '1');
    await expectRefusal(1, /"x" is not a descriptor/, '--ready-fd', 'x');
  });
});

describe.skipIf(isMissing('sd_notify', 'fuse', 'python3'))('NOTIFY_SOCKET', () => {
  test.each(['path', 'abstract'])('is told by a server in the foreground (%s)', async (kind) => {
    const socket = kind === 'path' ? join(folder, 'notify') : `@${basename(folder)}`;
    const datagrams = await Datagrams.on(socket);
    const server = await serveInForeground(image, [], ['env', `NOTIFY_SOCKET=${socket}`]);
    await datagrams.waitFor(`READY=1\\nSTATUS=${image} is mounted on ${server.mountpoint}`);
    expect(datagrams.text).not.toContain('STOPPING');
    server.child.kill('SIGTERM');
    expect(await server.ended).toBe(0);
    await datagrams.waitFor('STOPPING=1');
    expect(datagrams.text.match(/STOPPING/g)).toHaveLength(1);
  });

  test('hears nothing of one in the background, and a wrong one is said', async () => {
    const socket = join(folder, 'notify');
    const datagrams = await Datagrams.on(socket);
    const env = { ...process.env, NOTIFY_SOCKET: socket };
    const args = [CLI, 'mount', image, mountpoint];
    expect(await run(process.execPath, args, { env })).toEqual(DONE);
    expect(await vmdkfs('unmount', mountpoint)).toEqual(DONE);
    expect(datagrams.text).toBe('bound\n');
    const nobody = join(folder, 'nobody');
    const server = await serveInForeground(image, [], ['env', `NOTIFY_SOCKET=${nobody}`]);
    const complaint = `vmdkfs: NOTIFY_SOCKET: ${nobody}: no such file or directory\n`;
    await until('it complains', SOON_MS, () => server.stderr === complaint);
    server.child.kill('SIGTERM');
    expect(await server.ended).toBe(0);
  });
});

/** Has a busy server say something: it is ended while somebody has its disk open. */
async function endBusy(pid: number, disk: string, path: string): Promise<void> {
  const handle = await open(disk);
  process.kill(pid, 'SIGTERM');
  await until('the mount is detached', SOON_MS, () => !isMountedAt(path));
  await handle.close();
  await until('the server has ended', SOON_MS, () => !existsSync(`/proc/${pid}`));
}

describe.skipIf(isMissing('logs', 'fuse'))('--log', () => {
  test('has what a server says after it has left the terminal, also -o log=', async () => {
    const file = join(folder, 'server.log');
    const line = `${TIME} vmdkfs\\[\\d+\\]: \\S+/mnt: .*busy; detached, and served until`;
    const first = await mountImage(image, '--log', file);
    expect(readFileSync(file, 'utf8')).toBe('');
    await endBusy(first.pid, first.disk, first.mountpoint);
    expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^${line}`));
    const second = await mountImage(image, '-o', `log=${file}`);
    await endBusy(second.pid, second.disk, second.mountpoint);
    expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^${line}.*\n${line}.*\n$`));
  });

  test('has debug lines of all threads, and serves in the foreground too', async () => {
    const file = join(folder, 'server.log');
    const ready = join(folder, 'ready');
    const prefix = ['sh', '-c', 'exec "$@" --ready-fd 9 9>"$0"', ready];
    const server = await serveInForeground(image, ['-d', '--log', file], prefix);
    await until('it is ready', SOON_MS, () => readFileSync(ready, 'utf8') === '\n');
    const handle = await open(server.disk, 'r+');
    await handle.write(Buffer.alloc(4096, 1), 0, 4096, 8192);
    await handle.close();
    const written = 'vmdkfs:fuse WRITE ';
    await until('it is logged', SOON_MS, () => readFileSync(file, 'utf8').includes(written));
    server.child.kill('SIGTERM');
    expect(await server.ended).toBe(0);
    expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^${TIME} vmdkfs:mount closed$`, 'm'));
    expect(server.stderr).toContain('vmdkfs:mount');
    expect(server.stderr).not.toContain(written);
  });

  test('has to be where it can be written', async () => {
    const nowhere = join(folder, 'nowhere/log');
    await expectRefusal(4, /nowhere.*: no such file or directory/, '--log', nowhere);
    await expectRefusal(3, /lies inside the mountpoint/, '--log', join(mountpoint, 'log'));
    await expectRefusal(4, /illegal operation on a directory/, '--log', folder);
  });
});
