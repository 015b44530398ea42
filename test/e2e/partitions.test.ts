/** Partitions as files beside `disk.raw`, with the tools people use on them, over each transport. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open, readFile, statfs, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { markedFlat } from '../helpers/disks.js';
import { newImage } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { mountImage, type Mounted } from '../helpers/mounted.js';
import { putDosTable } from '../helpers/partition-tables.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, shell } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;
const TRANSPORTS = ['kernel', 'libfuse'] as const;

const isAbsent = isMissing('partitions', 'fuse', 'sfdisk');

/** Makes a partition table on the mount. */
async function sfdisk(disk: string, script: string): Promise<void> {
  await shell('printf "%s" "$2" | sfdisk -q --no-reread "$1"', disk, script);
}

/** A mounted disk of 64 MiB with partitions of 32 and of 16 MiB. */
async function partitioned(...args: readonly string[]): Promise<Mounted & { image: string }> {
  const image = await newImage('64M');
  const table = Buffer.alloc(512);
  putDosTable(table, 0, [
    { type: 0x83, start: 2048, sectors: 65536 },
    { type: 0x83, start: 67584, sectors: 32768 },
  ]);
  const { device } = openImage(image, { readOnly: false });
  device.write(table, 0, 512, 0);
  device.close();
  return { ...(await mountImage(image, ...args)), image };
}

/** Opens a file for the running test. */
async function opened(path: string, flags: string): Promise<FileHandle> {
  const handle = await open(path, flags);
  onTestFinished(async () => {
    await handle.close().catch(() => undefined);
  });
  return handle;
}

/** The name of the error with which a file cannot be opened, or ''. */
async function refusal(path: string, flags: string): Promise<string> {
  try {
    await (await open(path, flags)).close();
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Runs `action` until it succeeds: what the system has to give back first may take a while. */
async function eventually<T>(action: () => Promise<T>): Promise<T> {
  const end = performance.now() + 20_000;
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(50);
    }
  }
}

describe.skipIf(isAbsent).each(TRANSPORTS)('partitions over %s', (transport) => {
  const args = ['--transport', transport] as const;

  test('come and go with the table that sfdisk writes', async () => {
    const { disk, mountpoint } = await mountImage(await newImage('128M'), ...args);
    const sizes = (): string[] =>
      readdirSync(mountpoint).map(
        (name) => `${name} ${statSync(join(mountpoint, name)).size / MIB}`,
      );
    expect(sizes()).toEqual(['disk.raw 128']);
    await sfdisk(disk, 'label: dos\n2048,16M,L\n,8M,82\n,4M,L\n,,E\n,16M,L\n,8M,L\n');
    expect(sizes()).toEqual([
      ...['disk.raw 128', 'p1.raw 16', 'p2.raw 8', 'p3.raw 4', 'p5.raw 16', 'p6.raw 8'],
    ]);
    const logical = join(mountpoint, 'p6.raw');
    await check('mkfs.ext4', '-q', '-F', logical);
    const fsck = await run('e2fsck', ['-fn', logical]);
    expect(fsck).toMatchObject({ code: 0 });
    await sfdisk(disk, 'label: gpt\nsize=4M,type=U\nsize=32M,type=L\nsize=8M,type=S\n');
    expect(sizes()).toEqual(['disk.raw 128', 'p1.raw 4', 'p2.raw 32', 'p3.raw 8']);
    await check('sfdisk', '-q', '--no-reread', '--delete', disk, '2');
    expect(sizes()).toEqual(['disk.raw 128', 'p1.raw 4', 'p3.raw 8']);
    const numbers = [disk, join(mountpoint, 'p3.raw')].map((path) => statSync(path).ino);
    if (transport === 'kernel') expect(numbers).toEqual([2, 5]);
    expect(await refusal(join(mountpoint, 'p2.raw'), 'r')).toBe('ENOENT');
    if (transport === 'libfuse') return;
    // Who has a partition open when it goes keeps what it showed.
    const [writer, third] = [await opened(disk, 'r+'), join(mountpoint, 'p3.raw')];
    const reader = await opened(third, 'r');
    await writer.write(Buffer.alloc(34 * 512), 0, 34 * 512, 0);
    expect(readdirSync(mountpoint)).toEqual(['disk.raw']);
    expect((await reader.stat()).size).toBe(8 * MIB);
    await writer.write(pattern(4096, 5), 0, 4096, 37 * MIB);
    const { buffer } = await reader.read(Buffer.alloc(4096), 0, 4096, 0);
    expect(buffer.equals(pattern(4096, 5))).toBe(true);
    expect(await refusal(third, 'r')).toBe('ENOENT');
  });

  test('do not go together with disk.raw where one is written', async () => {
    const one = transport === 'kernel' ? ['--workers', '1'] : [];
    const { disk, mountpoint } = await partitioned(...args, ...one);
    const [first, second] = [join(mountpoint, 'p1.raw'), join(mountpoint, 'p2.raw')];
    const writer = await opened(first, 'r+');
    expect(await refusal(disk, 'r+')).toBe('ETXTBSY');
    expect(await refusal(second, 'r+')).toBe('');
    if (transport === 'libfuse') {
      expect(await refusal(disk, 'r')).toBe('ETXTBSY');
    } else {
      const reader = await opened(disk, 'r');
      for (let round = 1; round <= 5; round++) {
        await writer.write(Buffer.alloc(4096, round), 0, 4096, 8192);
        const { buffer } = await reader.read(Buffer.alloc(4096), 0, 4096, MIB + 8192);
        expect(buffer.equals(Buffer.alloc(4096, round))).toBe(true);
      }
      await reader.close();
    }
    await writer.close();
    const reader = await eventually(() => opened(disk, 'r'));
    await reader.read(Buffer.alloc(4096), 0, 4096, 0);
    expect(await refusal(first, 'r')).toBe('');
    // Now that nobody writes the reader has pages, or had none and is in nobody's way.
    await reader.close();
    const again = await eventually(() => opened(disk, 'r'));
    await again.read(Buffer.alloc(4096), 0, 4096, 0);
    expect(await refusal(first, 'r+')).toBe('ETXTBSY');
    expect(await shell('dd if=/dev/zero of="$1" count=1 2>&1 || true', first)).toMatch(
      /Text file busy/,
    );
    await again.close();
    // An open waits for a close, while the only thread of the server goes on. On a machine that is
    // busy itself the half second may be over before the close.
    await eventually(async () => {
      const reader = await opened(disk, 'r');
      await reader.read(Buffer.alloc(4096), 0, 4096, 0);
      const waiting = open(first, 'r+').then((handle) => handle.close());
      await Promise.all([
        waiting,
        statfs(mountpoint).then(async () => {
          await reader.close();
        }),
      ]);
    });
  });

  test('never show what another view has overwritten', { timeout: 120_000 }, async ({ skip }) => {
    if (isMissing('shared mappings', 'python3')) skip();
    const { disk, mountpoint } = await partitioned(...args);
    await check('python3', '-c', ROUNDS, disk, join(mountpoint, 'p1.raw'), '150', '1');
  });
});

describe.skipIf(isAbsent)('partitions with the writeback cache', () => {
  test('never show what another view has overwritten', { timeout: 120_000 }, async ({ skip }) => {
    if (isMissing('shared mappings', 'python3')) skip();
    const { disk, mountpoint } = await partitioned('-o', 'writeback_cache');
    await check('python3', '-c', ROUNDS, disk, join(mountpoint, 'p1.raw'), '150', '2');
    const writer = await opened(disk, 'r+');
    expect(await refusal(join(mountpoint, 'p1.raw'), 'r')).toBe('ETXTBSY');
    await writer.close();
  });
});

/**
 * Writes through one of two views and reads through one of them, by calls and by mappings, and
 * compares with what was written. An open is tried again where a close may not have arrived yet; a
 * mapping is refused by an open without pages, which is for the same reason.
 */
const ROUNDS = `
import errno, mmap, os, random, sys, time
views = [(sys.argv[1], 1 << 20), (sys.argv[2], 0)]
size = 2 << 20
model = bytearray(size)
random.seed(int(sys.argv[4]))

def retried(action):
    end = time.monotonic() + 20
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno not in (errno.ETXTBSY, errno.ENODEV) or time.monotonic() > end:
                raise
            time.sleep(0.01)

def write(view, mapped, offset, data):
    path, base = view
    fd = os.open(path, os.O_RDWR)
    try:
        if mapped:
            with mmap.mmap(fd, size, offset=base) as memory:
                memory[offset:offset + len(data)] = data
        else:
            done = os.pwrite(fd, data, base + offset)
            assert done == len(data), done
    finally:
        os.close(fd)

def read(view, mapped):
    path, base = view
    fd = os.open(path, os.O_RDONLY)
    try:
        if mapped:
            with mmap.mmap(fd, size, offset=base, access=mmap.ACCESS_READ) as memory:
                return bytes(memory)
        return os.pread(fd, size, base)
    finally:
        os.close(fd)

for number in range(int(sys.argv[3])):
    view = random.choice(views)
    offset = random.randrange(size)
    data = os.urandom(random.randint(1, min(20000, size - offset)))
    mapped = random.random() < 0.5
    retried(lambda: write(view, mapped, offset, data))
    model[offset:offset + len(data)] = data
    for view in random.sample(views, random.randint(1, 2)):
        mapped = random.random() < 0.5
        found = retried(lambda: read(view, mapped))
        if found != model:
            first = next(i for i in range(size) if found[i] != model[i])
            sys.exit(f'round {number}: {view[0]} (mapped: {mapped}) differs at {first}')
`;

describe.skipIf(isAbsent)('partitions of a plain disk that the kernel reads by itself', () => {
  test('show the same as disk.raw', async () => {
    const image = markedFlat();
    const flat = join(image, '..', 'disk-flat.vmdk');
    const bytes = pattern(8 * MIB, 4);
    bytes.fill(0, 0, 512);
    putDosTable(bytes, 0, [{ type: 0x83, start: 2048, sectors: 4096 }]);
    writeFileSync(flat, bytes);
    const { disk, mountpoint } = await mountImage(image, '-o', 'ro');
    const first = join(mountpoint, 'p1.raw');
    expect((await readFile(first)).equals(bytes.subarray(MIB, 3 * MIB))).toBe(true);
    expect((await readFile(disk)).equals(bytes)).toBe(true);
    expect(await refusal(first, 'r+')).toBe('EROFS');
    expect(statSync(first).mode & 0o777).toBe(0o444);
  });
});

const needsLoop = isAbsent || isMissing('partitions in loop devices', 'root', 'loop', 'ext4');

describe.skipIf(needsLoop).each(TRANSPORTS)('ext4 on a partition over %s', (transport) => {
  /** Mounts a file system, once the loop device before has given its file back. */
  async function mountLoop(source: string, options: string): Promise<string> {
    const target = join(tempFolder(), 'ext4');
    mkdirSync(target);
    onTestFinished(async () => {
      await run('umount', ['-q', '-l', target]);
    });
    await eventually(() => check('mount', '-o', options, source, target));
    return target;
  }

  test('is the same through p1.raw and through disk.raw', { timeout: 120_000 }, async () => {
    const { disk, mountpoint, unmount } = await partitioned('--transport', transport);
    const first = join(mountpoint, 'p1.raw');
    await check('mkfs.ext4', '-q', first);
    for (let round = 0; round < 2; round++) {
      const byPartition = await mountLoop(first, 'loop');
      if (round > 0) expect(readFileSync(join(byPartition, 'b0'), 'utf8')).toBe('by offset\n');
      writeFileSync(join(byPartition, `a${round}`), 'by partition\n');
      expect(await refusal(disk, 'r+')).toBe('ETXTBSY');
      await check('umount', byPartition);
      const byOffset = await mountLoop(disk, `loop,offset=${MIB},sizelimit=${32 * MIB}`);
      expect(readFileSync(join(byOffset, `a${round}`), 'utf8')).toBe('by partition\n');
      writeFileSync(join(byOffset, `b${round}`), 'by offset\n');
      expect(await refusal(first, 'r+')).toBe('ETXTBSY');
      await check('umount', byOffset);
    }
    await eventually(() => check('e2fsck', '-fn', first));
    await unmount();
  });
});

const needsUser =
  isAbsent || isMissing('partitions of a user', 'root', 'setpriv', 'unshare', 'ext4', 'fuse2fs');

describe.skipIf(needsUser).each(TRANSPORTS)('an ordinary user over %s', (transport) => {
  test('reads and writes ext4 on a partition without root', { timeout: 120_000 }, async () => {
    const folder = tempFolder();
    const image = await newImage('64M');
    await shell('cp "$1" "$2/disk.vmdk"; mkdir "$2/mnt" "$2/ext4"', image, folder);
    await shell('chown -R 65534:65534 "$1" && chmod 755 "$1"', folder);
    const inNamespace = [
      'mount -t tmpfs none /mnt',
      'mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse',
      'exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"',
    ].join('\n');
    const { code, stdout, stderr } = await run('unshare', [
      ...['-m', 'sh', '-euc', inNamespace, 'sh'],
      ...['sh', '-euc', AS_USER, 'sh', folder, transport, process.execPath, CLI],
    ]);
    expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toBe('from fuse2fs\nthrough disk.raw\n');
  });
});

/** Mounts, makes a file system on p1.raw, writes by it and by disk.raw, and reads by the other. */
const AS_USER = `
cd "$1"; transport=$2; node=$3; cli=$4
tries() { for n in $(seq 200); do if "$@"; then return 0; fi; sleep 0.1; done; return 1; }
"$node" "$cli" mount disk.vmdk mnt --transport "$transport" 2>mount.log || { cat mount.log >&2; exit 1; }
trap 'fusermount3 -q -u -z ext4 || true; "$node" "$cli" unmount mnt >&2 || fusermount3 -u -z mnt' EXIT
printf 'label: dos\\n2048,32M,L\\n' | sfdisk -q --no-reread mnt/disk.raw
mkfs.ext4 -q -E root_owner=65534:65534 mnt/p1.raw
fuse2fs -o rw mnt/p1.raw ext4 >fuse2fs.log 2>&1 || { cat fuse2fs.log >&2; exit 1; }
echo 'from fuse2fs' >ext4/one
fusermount3 -u ext4
disk='mnt/disk.raw?offset=1048576'
shown() { debugfs -R "cat $1" "$disk" 2>>debugfs.log | grep .; }
tries shown /one
echo 'through disk.raw' >two
added() { debugfs -w -R 'write two two' "$disk" >>debugfs.log 2>&1; shown /two >>debugfs.log; }
tries added
tries fuse2fs -o ro mnt/p1.raw ext4 >>fuse2fs.log 2>&1
cat ext4/two
fusermount3 -u ext4
tries e2fsck -fn mnt/p1.raw >e2fsck.log 2>&1
`;
