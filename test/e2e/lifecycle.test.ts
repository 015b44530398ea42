/** From the start of a server to its end: background, signals, death. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { serveInForeground } from '../helpers/foreground.js';
import { newImage } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { blockOf, placesOf } from '../helpers/random-writes.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, vmdkfs } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

describe.skipIf(isMissing('lifecycle', 'fuse'))('a server', () => {
  test('in the background keeps nothing of its caller', async () => {
    const image = await newImage('4M');
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    const file = join(tempFolder(), 'inherited');
    // The pipe of stdout ends when the command returns: a server that kept it would hang this.
    const line = 'cd "$4"; exec 5>"$5" 9>"$5" 200>"$5"; "$1" "$2" mount "$3" "$6" | cat';
    await check(
      'bash',
      '-euc',
      line,
      'bash',
      process.execPath,
      CLI,
      image,
      join(image, '..'),
      file,
      mountpoint,
    );
    onTestFinished(async () => {
      await vmdkfs('unmount', mountpoint);
    });
    const { stdout } = await run('pgrep', ['-f', `^vmdkfs .* ${mountpoint}$`]);
    const pid = stdout.trim();
    const linkOf = (fd: number | string): string => readlinkSync(`/proc/${pid}/fd/${fd}`);
    expect(readdirSync(`/proc/${pid}/fd`).map(linkOf)).not.toContain(file);
    // What it says goes to a file of its own, from which unmount tells why a server has died.
    const own: unknown = expect.stringMatching(/\/vmdkfs[^/]*\/[0-9a-f]+\.\d+\.log$/);
    expect([0, 1, 2].map(linkOf)).toEqual(['/dev/null', '/dev/null', own]);
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
    const [, , , , session] = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/\(.*\)/, '()')
      .split(' ')
      .slice(1);
    expect(session).toBe(pid);
  });

  test('mounts without the word mount, with options behind, as fstab has it', async () => {
    const image = await newImage('4M');
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    const options = 'rw,noauto,nofail,x-systemd.automount,suid,dev,ro';
    expect(await vmdkfs(image, mountpoint, '-o', options)).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const line = readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .find((each) => each.includes(mountpoint));
    expect(line).toMatch(/fuse\.vmdkfs ro,/);
    expect(line?.split(' ')[0]).toBe(image);
    expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
  });

  test('shows an image with commas and spaces in its name', async () => {
    const image = join(tempFolder(), 'my disk, the 2nd.vmdk');
    await vmdkfs('create', image, '--size', '1M');
    const { disk, mountpoint } = await mountImage(image);
    expect(statSync(disk).size).toBe(1024 * 1024);
    expect((await check('findmnt', '-no', 'SOURCE', mountpoint)).trim()).toBe(image);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    '%s unmounts and leaves a clean image',
    async (signal) => {
      const image = await newImage('16M');
      const server = await serveInForeground(image);
      await check(
        'dd',
        'if=/dev/urandom',
        `of=${server.disk}`,
        'bs=1M',
        'count=8',
        'conv=notrunc',
        'status=none',
      );
      expect(inspectSparseFile(image).uncleanShutdown).toBe(1);
      server.child.kill(signal);
      expect(await server.ended).toBe(0);
      expect(isMountedAt(server.mountpoint)).toBe(false);
      const { entries, problems, uncleanShutdown } = inspectSparseFile(image);
      expect(problems).toEqual([]);
      expect(uncleanShutdown).toBe(0);
      expect(entries.filter((entry) => entry > 1)).toHaveLength(128);
    },
  );

  test('that is busy on SIGTERM names who holds it and serves until the last close', async () => {
    const image = await newImage('16M');
    const server = await serveInForeground(image);
    const handle = await open(server.disk, 'r+');
    await handle.write(Buffer.alloc(4096, 1), 0, 4096, 0);
    server.child.kill('SIGTERM');
    await until('the mount is detached', 20_000, () => !isMountedAt(server.mountpoint));
    await handle.write(Buffer.alloc(4096, 2), 0, 4096, 4096);
    await handle.sync();
    expect(server.child.exitCode).toBeNull();
    await handle.close();
    expect(await server.ended).toBe(0);
    expect(server.stderr).toMatch(
      /detached, and served until its last user is gone: \S+ \(pid \d+\)/,
    );
    const { device } = openImage(image, { readOnly: true });
    const bytes = Buffer.alloc(8192);
    device.read(bytes, 0, 8192, 0);
    device.close();
    expect(bytes.equals(Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096, 2)]))).toBe(true);
  });

  test('leaves on a second signal, with what it has received in the image', async () => {
    const image = await newImage('16M');
    const server = await serveInForeground(image);
    const handle = await open(server.disk, 'r+');
    await handle.write(Buffer.alloc(4096, 3), 0, 4096, 8192);
    server.child.kill('SIGTERM');
    await until('the mount is detached', 20_000, () => !isMountedAt(server.mountpoint));
    server.child.kill('SIGTERM');
    expect(await server.ended).toBe(3);
    await handle.close().catch(() => undefined);
    const { device } = openImage(image, { readOnly: true });
    const bytes = Buffer.alloc(4096);
    device.read(bytes, 0, 4096, 8192);
    device.close();
    expect(bytes.equals(Buffer.alloc(4096, 3))).toBe(true);
  });

  const transports = ['kernel', 'libfuse'];
  test.each(transports)('killed during a copy over %s loses nothing synced', async (transport) => {
    const image = await newImage('256M');
    const server = await serveInForeground(image, ['--transport', transport]);
    const size = 256 * 1024 * 1024;
    const places = placesOf(11, 3000, 4096, size);
    const handle = await open(server.disk, 'r+');
    let synced = 0;
    for (const [index, place] of places.entries()) {
      await handle.write(blockOf(index, 4096), 0, 4096, place);
      if (index % 500 === 499) {
        await handle.sync();
        synced = index + 1;
      }
      if (index === 2700) break;
    }
    server.child.kill('SIGKILL');
    expect(await server.ended).toBe('SIGKILL');
    await handle.close().catch(() => undefined);
    if (transport === 'libfuse') {
      // The dead mount is cleared by unmount, which says that nobody closed the image.
      expect(await vmdkfs('unmount', server.mountpoint)).toMatchObject({ code: 4 });
    }
    await until('the dead mount is gone', 20_000, () => !isMountedAt(server.mountpoint));
    expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);
    expect(synced).toBe(2500);
    const { device } = openImage(image, { readOnly: false });
    const bytes = Buffer.alloc(4096);
    for (const [index, place] of places.slice(0, synced).entries()) {
      device.read(bytes, 0, 4096, place);
      expect(bytes.equals(blockOf(index, 4096)), `write ${index}`).toBe(true);
    }
    device.close();
  });

  test('on SIGTERM during a copy loses nothing that was synced', async () => {
    const image = await newImage('512M');
    const mounted = await mountImage(image);
    const source = join(tempFolder(), 'source');
    await check('dd', 'if=/dev/urandom', `of=${source}`, 'bs=1M', 'count=512', 'status=none');
    const copy = run('dd', [`if=${source}`, `of=${mounted.disk}`, 'bs=1M', 'conv=notrunc,fsync']);
    await sleep(700);
    process.kill(mounted.pid, 'SIGTERM');
    const { code } = await copy;
    await until('the server has ended', 20_000, () => !existsSync(`/proc/${mounted.pid}`));
    expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);
    expect(inspectSparseFile(image)).toMatchObject({ problems: [], uncleanShutdown: 0 });
    // The copy held the mount: it was detached, and served to the end.
    expect(code).toBe(0);
    const again = await mountImage(image, '-o', 'ro');
    await check('cmp', source, again.disk);
    await again.unmount();
  });

  test('flushes by itself, without fsync or close', async () => {
    const image = await newImage('16M');
    const { disk } = await mountImage(image);
    const handle = await open(disk, 'r+');
    await handle.write('hello');
    const copy = `${image}.copy`;
    await until('the image holds what was written', 20_000, () => {
      copyFileSync(image, copy);
      const { device } = openImage(copy, { readOnly: true });
      const bytes = Buffer.alloc(5);
      device.read(bytes, 0, 5, 0);
      device.close();
      return bytes.toString() === 'hello';
    });
    await handle.close();
  });
});
