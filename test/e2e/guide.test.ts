/** The tasks of docs/guide.md, executed from the text itself: what is typed, and what comes back. */
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { fillGuideFolder } from '../helpers/guide-folder.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, shell } from '../helpers/run.js';
import { makeTempFolder, tempFolder } from '../helpers/temp-folder.js';

const GUIDE = readFileSync(new URL('../../docs/guide.md', import.meta.url), 'utf8');

interface Step {
  readonly command: string;
  /** What comes back, a line each. */
  readonly lines: string[];
}

interface Task {
  readonly title: string;
  readonly steps: readonly Step[];
}

const TASKS: readonly Task[] = GUIDE.split(/^## /m)
  .slice(1)
  .map((section) => {
    const [title = ''] = section.split('\n', 1);
    const [, block = ''] = /^```console\n([^]*?)^```/m.exec(section) ?? [];
    const steps: Step[] = [];
    for (const line of block.split('\n').filter((each) => each !== '')) {
      if (line.startsWith('$ ')) steps.push({ command: line.slice(2), lines: [] });
      else steps.at(-1)?.lines.push(line);
    }
    return { title, steps };
  });

test('the guide has ten tasks of about ten lines', () => {
  expect(TASKS).toHaveLength(10);
  for (const { steps, title } of TASKS) {
    const lines = steps.reduce((sum, step) => sum + 1 + step.lines.length, 0);
    expect(lines, title).toBeGreaterThanOrEqual(5);
    expect(lines, title).toBeLessThanOrEqual(12);
  }
});

/**
 * What a user of the task has: mounts that nobody else sees and that end with the task, a fstab, a
 * /usr/local/bin, a `sudo`, and a /dev/fuse that is open to users.
 */
const MACHINE = `
  fuse=$(mktemp); rm "$fuse"; cp -a /dev/fuse "$fuse"; chmod 666 "$fuse"
  mount --bind "$fuse" /dev/fuse; rm "$fuse"
  : >"$1/fstab"; mount --bind "$1/fstab" /etc/fstab
  mkdir "$1/local" "$1/new"; mount --bind /usr/local/bin "$1/local"
  ln -s "$1/local/"* "$1/new/"; ln -sf "$1/bin/node" "$1/new/node"
  mount --bind "$1/new" /usr/local/bin
  PATH=$1/bin:$PATH; export PATH
  user=$2 folder=$3; cd "$folder"; shift 3
  if [ "$user" = 0 ]; then exec "$@"; fi
  chown -R "$user:$user" "$folder"
  exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"`;

/** A shell's program that runs the steps and says where each begins. */
function scriptOf(steps: readonly Step[]): string {
  const lines = steps.flatMap(({ command }, index) => [`echo '== STEP ${index}'`, command]);
  return ['set -e', 'exec 2>&1', ...lines, "echo '== END'"].join('\n');
}

/** Barriers take seconds each on a machine whose storage is busy. */
const LIMIT_MS = 180_000;

const needs = ['fuse', 'root', 'loop', 'ext4', 'sfdisk', 'setpriv', 'unshare'] as const;

describe.skipIf(isMissing('the tasks of the guide', ...needs))('the guide', () => {
  let made: string;
  beforeAll(async () => {
    const { folder, remove } = makeTempFolder();
    await fillGuideFolder(folder);
    made = folder;
    return remove;
  }, LIMIT_MS);

  test.each(TASKS)(
    '$title',
    async ({ steps, title }) => {
      const base = tempFolder();
      // A user who is not root has to get there.
      chmodSync(base, 0o755);
      mkdirSync(join(base, 'bin'));
      symlinkSync(CLI, join(base, 'bin/vmdkfs'));
      symlinkSync(process.execPath, join(base, 'bin/node'));
      writeFileSync(join(base, 'bin/sudo'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
      writeFileSync(join(base, 'steps'), scriptOf(steps));
      const folder = join(base, 'work');
      await shell('cp -a --sparse=always "$1" "$2"', made, folder);
      chmodSync(folder, 0o755);

      const user = title.includes('Without root') ? '65534' : '0';
      const script = ['sh', '-euc', MACHINE, 'sh', base, user, folder, 'sh', join(base, 'steps')];
      const { code, stdout } = await run('unshare', ['-m', '--propagation', 'private', ...script]);
      const blocks = stdout.split(/^== (?:STEP \d+|END)\n/m).slice(1);
      const got = steps.map(({ command }, index) => ({
        command,
        lines: (blocks[index] ?? 'not reached').split('\n').filter((line) => line !== ''),
      }));
      expect({ code, steps: got }).toEqual({ code: 0, steps });
    },
    LIMIT_MS,
  );
});
