/** Two programs and one image: who may use it beside whom. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newImage } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, vmdkfs, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

/** Mounts over a mount of its own, whatever comes of it. */
async function tryMount(image: string, ...options: readonly string[]): Promise<Outcome> {
  const mountpoint = join(tempFolder(), 'mnt');
  mkdirSync(mountpoint);
  onTestFinished(async () => {
    if (isMountedAt(mountpoint)) await vmdkfs('unmount', mountpoint);
  });
  return vmdkfs('mount', image, mountpoint, ...options);
}

/** A child of `parent` in the same folder. */
async function newChild(parent: string, name: string): Promise<string> {
  const child = join(parent, '..', name);
  const { code, stderr } = await vmdkfs('create', child, '--backing', parent);
  if (code !== 0) throw new Error(stderr);
  return child;
}

describe.skipIf(isMissing('locks', 'fuse'))('a mounted image', () => {
  test('that is written is not for anybody else', async () => {
    const image = await newImage('8M');
    await mountImage(image);
    for (const options of [[], ['-r']]) {
      const { code, stderr } = await tryMount(image, ...options);
      expect(code).toBe(6);
      expect(stderr).toContain(`${image}: is in use by another program`);
    }
    expect((await vmdkfs('info', image)).code).toBe(0);
    expect((await tryMount(image, '-r', '--no-lock')).code).toBe(0);
  });

  test('that is read can be read by others', async () => {
    const image = await newImage('8M');
    const first = await mountImage(image, '-r');
    expect((await tryMount(image, '-r')).code).toBe(0);
    expect((await tryMount(image)).code).toBe(6);
    await first.unmount();
  });

  test('keeps its parents from being written, and lets other children read them', async () => {
    const parent = await newImage('8M');
    await mountImage(await newChild(parent, 'one.vmdk'));
    expect((await tryMount(await newChild(parent, 'two.vmdk'))).code).toBe(0);
    expect((await tryMount(parent, '-r')).code).toBe(0);
    const { code, stderr } = await tryMount(parent);
    expect(code).toBe(6);
    expect(stderr).toContain(parent);
  });

  test('is free again when its server was killed', async () => {
    const image = await newImage('8M');
    const { mountpoint, pid } = await mountImage(image);
    process.kill(pid, 'SIGKILL');
    await until('the dead mount is gone', 5000, () => !isMountedAt(mountpoint));
    expect((await tryMount(image)).code).toBe(0);
  });

  test('with the mark of VMware is not written, and read with a notice', async () => {
    const image = await newImage('8M');
    mkdirSync(`${image}.lck`);
    expect((await tryMount(image)).code).toBe(0);
    const marked = await newImage('8M');
    mkdirSync(`${marked}.lck`);
    writeFileSync(join(`${marked}.lck`, 'M12345.lck'), '');
    const refused = await tryMount(marked);
    expect(refused.code).toBe(6);
    expect(refused.stderr).toContain(`remove the folder ${marked}.lck`);
    const read = await tryMount(marked, '-r');
    expect(read.code).toBe(0);
    expect(read.stderr).toMatch(/M12345\.lck.*may be changing/);
    const forced = await tryMount(await markedImage(), '--no-lock');
    expect(forced).toMatchObject({ code: 0, stderr: '' });
  });
});

async function markedImage(): Promise<string> {
  const image = await newImage('8M');
  mkdirSync(`${image}.lck`);
  writeFileSync(join(`${image}.lck`, 'M12345.lck'), '');
  return image;
}

describe.skipIf(isMissing('locks of QEMU', 'fuse', 'qemu'))('QEMU and a mount', () => {
  const write = (image: string): Promise<Outcome> =>
    run('qemu-io', ['-f', 'vmdk', '-c', 'write 0 4k', image]);

  test('refuse the writers of each other: the mount was first', async () => {
    const image = await newImage('8M');
    const writer = await mountImage(image);
    expect((await write(image)).stderr).toMatch(/Failed to get .*lock/);
    for (const args of [
      ['check', image],
      ['convert', '-O', 'raw', image, `${image}.raw`],
      ['bench', '-w', '-c', '1', image],
    ]) {
      expect((await run('qemu-img', args)).stderr).toMatch(/Failed to get .*lock/);
    }
    await writer.unmount();
    await mountImage(image, '-r');
    expect((await write(image)).stderr).toMatch(/Failed to get .*lock/);
    await check('qemu-img', 'check', '-q', image);
  });

  test('refuse the writers of each other: QEMU was first', async () => {
    const image = await newImage('8M');
    const qemu = spawn('qemu-io', ['-f', 'vmdk', image], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => {
      qemu.kill();
    });
    qemu.stdin.write('write 0 4k\n');
    await new Promise((resolve) => qemu.stdout.once('data', resolve));
    expect((await tryMount(image)).code).toBe(6);
    expect((await tryMount(image, '-r')).code).toBe(6);
    qemu.stdin.end('quit\n');
    await new Promise((resolve) => qemu.once('exit', resolve));
    await sleep(10);
    expect((await tryMount(image)).code).toBe(0);
  });

  test('refuse the writers of each other: qemu-img was first', async () => {
    const image = await newImage('8M');
    const qemu = spawn('qemu-img', ['bench', '-w', '-c', '100000000', image], { stdio: 'ignore' });
    onTestFinished(() => {
      qemu.kill('SIGKILL');
    });
    await untilLocked(image);
    expect((await tryMount(image)).code).toBe(6);
    expect((await tryMount(image, '-r')).code).toBe(6);
  });
});

const needsDaemon = isMissing('locks of the storage daemon', 'fuse', 'qemu', 'storageDaemon');

describe.skipIf(needsDaemon)('the storage daemon and a mount', () => {
  /** Arguments that have the daemon export `image` for writing. */
  const exporting = (image: string): string[] => [
    '--blockdev',
    `vmdk,node-name=disk,file.driver=file,file.filename=${image}`,
    '--nbd-server',
    `addr.type=unix,addr.path=${image}.socket`,
    '--export',
    'nbd,id=export,node-name=disk,writable=on',
  ];

  test('refuse the writers of each other', async () => {
    const image = await newImage('8M');
    const writer = await mountImage(image);
    const refused = await run('qemu-storage-daemon', exporting(image));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/Failed to get .*lock/);
    await writer.unmount();

    const daemon = spawn('qemu-storage-daemon', exporting(image), { stdio: 'ignore' });
    onTestFinished(() => {
      daemon.kill('SIGKILL');
    });
    await untilLocked(image);
    expect((await tryMount(image)).code).toBe(6);
    expect((await tryMount(image, '-r')).code).toBe(6);
    daemon.kill();
    await new Promise((resolve) => daemon.once('exit', resolve));
    expect((await tryMount(image)).code).toBe(0);
  });
});

/** Waits until another program has `image` open for writing. */
async function untilLocked(image: string): Promise<void> {
  const end = performance.now() + 60_000;
  for (;;) {
    const { stdout } = await vmdkfs('info', image);
    if (stdout.includes('has it open for writing')) return;
    if (performance.now() > end) throw new Error(`nobody has opened ${image}: ${stdout}`);
    await sleep(20);
  }
}
