/** What commands print is printed to the end, or they fail. */
import { mkdirSync, openSync, closeSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTOR = 512;
const RUNS = 6000;
const PIPE_BYTES = 64 * 1024;

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});

/** An image whose map is two megabytes of JSON: grains of one sector, every other of them there. */
function makeScattered(): void {
  createImage(image, { size: 2 * RUNS * SECTOR, backing: undefined, subformat: 'vmfsSparse' });
  const { device } = openImage(image, { readOnly: false });
  const sector = Buffer.alloc(SECTOR, 1);
  for (let index = 0; index < RUNS; index++) device.write(sector, 0, SECTOR, 2 * index * SECTOR);
  device.close();
}

/**
 * Runs a program with a pipe for its stdout that does not wait for its reader, who begins to read
 * when nothing more comes, or the program has ended: a pipe of small writes may be full before its last
 * byte is. Its exit code and what was read are in the answer.
 */
const LATE_READER = `
import array, fcntl, os, subprocess, sys, termios, time
reader, writer = os.pipe()
os.set_blocking(writer, False)
program = subprocess.Popen(sys.argv[2:], stdout=writer)
os.close(writer)
there = array.array('i', [0])
same = 0
while program.poll() is None and same < 20:
    before = there[0]
    time.sleep(0.01)
    fcntl.ioctl(reader, termios.FIONREAD, there)
    same = same + 1 if there[0] == before and before > int(sys.argv[1]) // 2 else 0
with os.fdopen(reader, 'rb') as pipe:
    sys.stdout.buffer.write(pipe.read())
sys.exit(program.wait())
`;

test.skipIf(isMissing('a pipe that does not wait', 'python3'))(
  'a pipe that does not wait for its reader gets all of it',
  async () => {
    makeScattered();
    const whole = await check(process.execPath, CLI, 'map', '--json', image);
    expect(whole.length).toBeGreaterThan(2_000_000);
    const args = [process.execPath, CLI, 'map', '--json', image];
    const late = await run('python3', ['-c', LATE_READER, `${PIPE_BYTES}`, ...args]);
    expect({ code: late.code, stderr: late.stderr }).toEqual({ code: 0, stderr: '' });
    expect(late.stdout.length).toBe(whole.length);
    expect(late.stdout === whole).toBe(true);
  },
);

/** Runs a command with its stdout in `file`. */
async function into(file: string, ...args: readonly string[]) {
  const fd = openSync(file, 'w');
  try {
    return await run(process.execPath, [CLI, ...args], { stdio: ['ignore', fd, 'pipe'] });
  } finally {
    closeSync(fd);
  }
}

const FULL = 'vmdkfs: standard output: no space left on device\n';

test.skipIf(isMissing('a target that is full', 'root'))(
  'a target with less room than is printed is 4',
  async () => {
    makeScattered();
    const host = join(folder, 'host');
    mkdirSync(host);
    await check('mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', host);
    onTestFinished(async () => {
      await run('umount', ['-l', host]);
    });
    const file = join(host, 'map.json');
    expect(await into(file, 'map', '--json', image)).toMatchObject({ code: 4, stderr: FULL });
    expect(statSync(file).size).toBe(PIPE_BYTES);
    // Some of a single write fits.
    const room = join(host, 'filler');
    await check('truncate', '-s', '0', file);
    await check('sh', '-c', `head -c ${PIPE_BYTES - 4096} /dev/zero >'${room}'`);
    const script = await into(file, 'completion', 'bash');
    expect(script).toMatchObject({ code: 4, stderr: FULL });
    expect(readFileSync(file)).toHaveLength(4096);
  },
);

describe('where nothing can be printed, that is 4 for', () => {
  const commands: readonly (readonly string[])[] = [
    ['--help'],
    ['help', 'mount'],
    ['mount', '--help'],
    ['--version'],
    ['completion', 'fish'],
    ['create', 'IMAGE2', '-s', '1M'],
    ['info', 'IMAGE'],
    ['info', 'IMAGE', '--json'],
    ['check', 'IMAGE', '--json'],
    ['map', 'IMAGE'],
    ['compact', 'IMAGE'],
    ['convert', 'IMAGE', 'IMAGE2'],
    ['list', '--json'],
  ];

  test.each(commands.map((args) => [args.join(' '), args] as const))(
    'vmdkfs %s',
    async (_, args) => {
      createImage(image, { size: 1024 * 1024, backing: undefined });
      const paths = args.map((arg) => arg.replace('IMAGE', image));
      expect(await into('/dev/full', ...paths)).toMatchObject({ code: 4, stderr: FULL });
    },
  );

  test.skipIf(isMissing('stats that are not printed', 'fuse'))('vmdkfs stats', async () => {
    createImage(image, { size: 1024 * 1024, backing: undefined });
    const { mountpoint } = await mountImage(image);
    expect(await into('/dev/full', 'stats', mountpoint)).toMatchObject({ code: 4, stderr: FULL });
    const watched = await into('/dev/full', 'stats', '--interval', '0.1', mountpoint);
    expect(watched).toMatchObject({ code: 4, stderr: FULL });
  });
});

test('what is said beside the result does not fail it', async () => {
  createImage(image, { size: 1024 * 1024, backing: undefined });
  const fd = openSync('/dev/full', 'w');
  try {
    const args = [CLI, 'info', join(folder, 'none.vmdk')];
    const outcome = await run(process.execPath, args, { stdio: ['ignore', 'pipe', fd] });
    expect(outcome).toMatchObject({ code: 4, stdout: '' });
    const child = join(folder, 'child.vmdk');
    createImage(child, { size: undefined, backing: image });
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(SECTOR, 1), 0, SECTOR, 0);
    device.close();
    const forced = [CLI, 'info', '--force', child];
    const info = await run(process.execPath, forced, { stdio: ['ignore', 'pipe', fd] });
    expect(info.code).toBe(0);
    expect(info.stdout).toContain('subformat:');
  } finally {
    closeSync(fd);
  }
});

test.skipIf(isMissing('a reader that goes away', 'bash'))(
  'a reader that goes away is no failure',
  async () => {
    makeScattered();
    const line = 'set -o pipefail; "$0" "$1" map --json "$2" | head -c 1';
    const outcome = await run('bash', ['-c', line, process.execPath, CLI, image]);
    expect(outcome).toEqual({ code: 0, stdout: '[', stderr: '' });
  },
);
