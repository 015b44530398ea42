/** Servers that are ended at any moment of their start leave no process, no mount, and no lock. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Random } from '../crash/random.js';
import { newImage } from '../helpers/images.js';
import { isMountedAt } from '../helpers/mounted.js';
import { processesWith } from '../helpers/processes.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const ROUNDS = 18;
const LIMIT_MS = 400_000;

/** A start takes about so long on a quiet machine, milliseconds. */
const START_MS = 500;

/** And what comes after the kernel has mounted about so long. */
const LAST_PART_MS = 60;

const GONE_MS = 120_000;

/** Starts a server, ends it after a while with `signal`, and waits until nothing is left of it. */
async function endAtStart(
  command: readonly string[],
  mountpoint: string,
  signal: 'SIGKILL' | 'SIGTERM',
  random: Random,
): Promise<void> {
  const child = spawn(process.execPath, [CLI, ...command], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  if (random.chance(0.5)) {
    await sleep(random.below(START_MS));
  } else {
    await until('it is mounted', GONE_MS, () => isMountedAt(mountpoint) || child.exitCode !== null);
    await sleep(random.below(LAST_PART_MS));
  }
  child.kill(signal);
  await ended;
  await until('no process is left', GONE_MS, () => processesWith(mountpoint).length === 0);
}

/** `umount -f` also ends a connection whose server waits for itself. */
function cleanUp(mountpoint: string): void {
  onTestFinished(async () => {
    if (!isMountedAt(mountpoint)) return;
    await run('umount', ['-f', mountpoint]);
    await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
  });
}

describe.skipIf(isMissing('ends at the start', 'fuse'))('a server that is ended', () => {
  test.each(['kernel', 'libfuse'])(
    'while it starts over %s leaves nothing',
    async (transport) => {
      const random = new Random(20);
      const image = await newImage('4M');
      const mountpoint = join(tempFolder(), 'mnt');
      mkdirSync(mountpoint);
      cleanUp(mountpoint);
      const command = ['mount', '-f', '--transport', transport, image, mountpoint];
      for (let round = 0; round < ROUNDS; round++) {
        const signal = round % 3 === 2 ? 'SIGTERM' : 'SIGKILL';
        await endAtStart(command, mountpoint, signal, random);
        if (transport === 'libfuse' && signal === 'SIGKILL') {
          // Nobody unmounts for a server of libfuse.
          if (isMountedAt(mountpoint)) await vmdkfs('unmount', mountpoint);
        }
        await until('no mount is left', GONE_MS, () => !isMountedAt(mountpoint));
      }
      expect(await vmdkfs('mount', image, mountpoint)).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(await vmdkfs('unmount', mountpoint)).toEqual({ code: 0, stdout: '', stderr: '' });
    },
    LIMIT_MS,
  );
});

const DELAY_US = 1_000_000;

describe.skipIf(isMissing('ends while looking', 'fuse', 'strace'))(
  'a server that is killed',
  () => {
    test.each(['kernel', 'libfuse'])(
      'while it looks at its mount over %s ends',
      async (transport) => {
        const image = await newImage('4M');
        const mountpoint = join(tempFolder(), 'mnt');
        mkdirSync(mountpoint);
        cleanUp(mountpoint);
        const inject = `inject=write,writev:delay_enter=${DELAY_US}`;
        const slow = ['-f', '-qq', '-o', '/dev/null', '-P', '/dev/fuse', '-e', inject];
        const command = [CLI, 'mount', '-f', '--transport', transport, image, mountpoint];
        const tracer = spawn('strace', [...slow, process.execPath, ...command], {
          stdio: 'ignore',
        });
        const ended = once(tracer, 'exit');
        await until('it is mounted', GONE_MS, () => isMountedAt(mountpoint));
        // The answer to INIT takes one delay; during the next one the server waits for what it asked.
        await sleep((2 * DELAY_US) / 1000);
        for (const pid of processesWith(mountpoint).filter(isServer)) process.kill(pid, 'SIGKILL');
        await until('no process is left', GONE_MS, () => processesWith(mountpoint).length === 0);
        await ended;
        // Nobody unmounts for a server of libfuse.
        if (transport === 'libfuse') await vmdkfs('unmount', mountpoint);
        await until('no mount is left', GONE_MS, () => !isMountedAt(mountpoint));
      },
    );
  },
);

/** Beside the server there are its tracer, the helper that mounts, and a program that looks. */
function isServer(pid: number): boolean {
  return readlinkSync(`/proc/${pid}/exe`) === realpathSync(process.execPath);
}
