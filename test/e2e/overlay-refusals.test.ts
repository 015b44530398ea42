/** Mounts with an overlay that will not do: one line, an exit code, and nothing made or changed. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { writeRandom } from '../helpers/disk-writing.js';
import { hashes } from '../helpers/hashes.js';
import { newImage } from '../helpers/images.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

// Many mounts in one test.
vi.setConfig({ testTimeout: 600_000 });

describe.skipIf(isMissing('refused overlays', 'fuse'))(
  'a mount is refused, and makes nothing, with',
  () => {
    /** Code and stderr of a mount that has to fail with one line. */
    async function refused(image: string, args: readonly string[], mountpoint?: string) {
      const folder = join(tempFolder(), 'mnt');
      mkdirSync(folder);
      const outcome = await vmdkfs('mount', image, mountpoint ?? folder, ...args);
      expect(outcome.stdout).toBe('');
      expect(outcome.stderr).toMatch(/^vmdkfs: [^\n]+\n$/);
      return { code: outcome.code, stderr: outcome.stderr };
    }

    test.each([
      [
        ['--overlay', 'a.vmdk', '--snapshot'],
        /keeps .*--snapshot throws it away; choose one of them/,
      ],
      [['-o', 'snapshot', '--overlay', 'a.vmdk'], /choose one of them/],
      [
        ['--snapshot', '-r'],
        /--snapshot is for writing, and -o ro forbids it; leave one of them out/,
      ],
      [['--snapshot', '-o', 'drop_change_tracking'], /so leave one of them out/],
      [['-o', 'overlay='], /needs the name of a file/],
    ])('1 for %j', async (args, message) => {
      const image = await newImage('1M');
      const outcome = await refused(image, args);
      expect(outcome.code).toBe(1);
      expect(outcome.stderr).toMatch(message);
      expect(readdirSync(dirname(image))).toEqual(['disk.vmdk']);
    });

    test('2, 3 and 4 for an overlay or a mountpoint that will not do', async () => {
      const image = await newImage('1M');
      const folder = dirname(image);
      const overlay = join(folder, 'overlay.vmdk');
      const other = await newImage('1M');
      const before = hashes([image, other]);
      for (const [args, code, message] of [
        [
          ['--overlay', other],
          2,
          /is an image of its own, and no child of .*disk\.vmdk; name a new/,
        ],
        [['--overlay', image], 2, /is a file of the image .* itself/],
        [['--overlay', join(folder, 'none', 'a.vmdk')], 4, /none: no such file or directory/],
        [['-r', '--overlay', overlay], 4, /there is no overlay, and read-only none is made/],
      ] as const) {
        const outcome = await refused(image, args);
        expect(outcome.stderr).toMatch(message);
        expect(outcome.code).toBe(code);
      }
      const missing = await refused(image, ['--overlay', overlay], join(folder, 'nowhere'));
      expect(missing).toMatchObject({ code: 3 });
      const mountpoint = join(folder, 'mnt');
      mkdirSync(mountpoint);
      const inside = join(mountpoint, 'a.vmdk');
      const swallowed = await refused(image, ['--overlay', inside], mountpoint);
      expect(swallowed.stderr).toMatch(/the overlay .*a\.vmdk lies inside its own mountpoint/);
      expect(swallowed.code).toBe(3);
      expect(existsSync(overlay) || existsSync(inside)).toBe(false);
      expect(hashes([image, other])).toEqual(before);
    });

    test('6 beside another user, and 2 when the image was written meanwhile', async () => {
      const image = await newImage('1M');
      const overlay = join(dirname(image), 'overlay.vmdk');
      // An image that is written is nobody else's, and one under an overlay is not to be written.
      const writer = await mountImage(image);
      expect(await refused(image, ['--overlay', overlay])).toMatchObject({ code: 6 });
      expect(await refused(image, ['--snapshot'])).toMatchObject({ code: 6 });
      expect(existsSync(overlay)).toBe(false);
      await writer.unmount();
      const reader = await mountImage(image, '--overlay', overlay);
      const snapshot = await mountImage(image, '--snapshot');
      expect(await refused(image, [])).toMatchObject({ code: 6 });
      expect(await refused(image, ['--overlay', overlay])).toMatchObject({ code: 6 });
      await snapshot.unmount();
      await reader.unmount();
      // The image was written meanwhile: the overlay belongs to what it was.
      const again = await mountImage(image);
      await writeRandom(again.disk, 1, 0);
      await again.unmount();
      const kept = hashes([image, overlay]);
      const changed = await refused(image, ['--overlay', overlay]);
      expect(changed.code).toBe(2);
      expect(changed.stderr).toMatch(
        /overlay\.vmdk: is the child of an image with CID [0-9a-f]{8}/,
      );
      expect(hashes([image, overlay])).toEqual(kept);
    });
  },
);
