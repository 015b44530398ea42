/**
 * A loop device over the mount while memory is short: writing pages back needs the server, and the
 * server must not wait for memory that only writing back can free.
 */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newImage } from '../helpers/images.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, shell } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

/** What the writer gets, its page cache included. */
const WRITER_BYTES = 64 * MIB;

/** What server and writer get together; the server alone takes about 100 MiB. */
const BOTH_BYTES = 160 * MIB;

/** The bit of CAP_SYS_RESOURCE in a capability mask. */
const CAP_SYS_RESOURCE = 24n;

/** Whether the kernel lets us promise that we never wait for our own writing (PR_SET_IO_FLUSHER). */
function mayBeIoFlusher(): boolean {
  const mask = /^CapEff:\s+(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${mask}`) >> CAP_SYS_RESOURCE) & 1n) === 1n;
}

/** A memory cgroup with a limit, removed when the test has finished; undefined where there is none. */
function limitedGroup(bytes: number): string | undefined {
  const name = `vmdkfs-test-${process.pid}`;
  const kinds = [
    { folder: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
    { folder: '/sys/fs/cgroup', limit: 'memory.max' },
  ];
  for (const { folder, limit } of kinds) {
    const group = join(folder, name);
    try {
      if (!existsSync(join(folder, 'cgroup.procs'))) continue;
      mkdirSync(group);
      onTestFinished(() => {
        for (const pid of readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n')) {
          if (pid !== '') appendFileSync(join(folder, 'cgroup.procs'), pid);
        }
        rmdirSync(group);
      });
      writeFileSync(join(group, limit), String(bytes));
      return group;
    } catch {
      continue;
    }
  }
  return undefined;
}

const isAbsent = isMissing('memory pressure', 'fuse', 'root', 'loop', 'ext4');

describe.skipIf(isAbsent).each(['the writer', 'writer and server'])(
  'with little memory for %s',
  (who) => {
    const withServer = who !== 'the writer';

    test(
      'writes through a loop device go on and lose nothing',
      { timeout: 180_000 },
      async ({ skip }) => {
        if (withServer && !mayBeIoFlusher()) {
          console.log('SKIPPED memory pressure on the server: no CAP_SYS_RESOURCE');
          skip();
        }
        const image = await newImage('1G');
        const mounted = await mountImage(image);
        const group = limitedGroup(withServer ? BOTH_BYTES : WRITER_BYTES);
        if (group === undefined) {
          console.log('SKIPPED memory pressure: no memory cgroup can be made');
          skip();
          return;
        }
        if (withServer) appendFileSync(join(group, 'cgroup.procs'), String(mounted.pid));
        await check('mkfs.ext4', '-q', mounted.disk);
        const tree = join(tempFolder(), 'tree');
        const source = join(tempFolder(), 'source');
        await check('dd', 'if=/dev/urandom', `of=${source}`, 'bs=1M', 'count=400', 'status=none');
        const script = `
        echo $$ > "$4/cgroup.procs"
        mkdir "$2"; mount -o loop "$1" "$2"; trap 'umount "$2"' EXIT
        dd if="$3" of="$2/file" bs=1M conv=fsync status=none
        for n in 1 2 3 4; do head -c 20M "$3" > "$2/small$n"; done; sync
        cmp "$3" "$2/file"`;
        await shell(script, mounted.disk, tree, source, group);
        await mounted.unmount();
        const again = await mountImage(image, '-o', 'ro');
        expect((await run('e2fsck', ['-fn', again.disk])).code).toBe(0);
        const mountLine = 'mkdir -p "$2"; mount -o loop,ro "$1" "$2"; trap \'umount "$2"\' EXIT';
        await shell(`${mountLine}; cmp "$2/file" "$3"`, again.disk, tree, source);
      },
    );
  },
);
