/** Overlays: made, used again, used by themselves, thrown away. */
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { BlockDevice } from '../../src/block/block-device.js';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { openOverlaid } from '../../src/block/overlay.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import { streamDisk } from '../helpers/delta-kinds.js';
import { readDisk } from '../helpers/disk-reading.js';
import { hashes } from '../helpers/hashes.js';
import { writeOva } from '../helpers/ova-file.js';
import {
  DATA,
  expectWritten,
  inOverlay,
  openWith,
  overlayRefusal,
  writeData,
} from '../helpers/overlays.js';
import { filledImage } from '../helpers/refusal.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

describe('an overlay', () => {
  test('is made, used again, and used as an image of its own', () => {
    const { folder, image } = filledImage();
    const overlay = join(folder, 'overlay.vmdk');
    const before = hashes([image]);
    expect(inOverlay(image, overlay, writeData)).toEqual([]);
    expect(inOverlay(image, overlay, expectWritten)).toEqual([]);
    // Its own name for its parent leads there.
    const { chain, device } = openImage(overlay, { readOnly: true });
    expect(chain.map(({ path }) => path)).toEqual([overlay, image]);
    expectWritten(device);
    device.close();
    expect(hashes([image])).toEqual(before);
  });

  test('is made in an empty file, through a link too', () => {
    const { folder, image } = filledImage();
    const [overlay, link] = [join(folder, 'overlay.vmdk'), join(folder, 'link.vmdk')];
    writeFileSync(overlay, '', { mode: 0o600 });
    symlinkSync(overlay, link);
    inOverlay(image, link, writeData);
    expect(statSync(overlay).mode & 0o777).toBe(0o600);
    inOverlay(image, overlay, expectWritten);
  });

  test('lies over an overlay, which stays as it is', () => {
    const { folder, image } = filledImage();
    const [first, second] = [join(folder, 'first.vmdk'), join(folder, 'second.vmdk')];
    inOverlay(image, first, writeData);
    const before = hashes([image, first]);
    inOverlay(first, second, (device) => {
      expectWritten(device);
      device.write(DATA, 0, DATA.length, 20 * MIB);
    });
    inOverlay(first, second, (device) => {
      expectWritten(device);
      expect(readDisk(device, 20 * MIB, DATA.length).equals(DATA)).toBe(true);
    });
    expect(hashes([image, first])).toEqual(before);
  });

  test.each(['vmfsSparse', 'seSparse', 'twoGbMaxExtentSparse'] as const)(
    'may be a %s child that create made',
    (subformat) => {
      const { folder, image } = filledImage();
      const overlay = join(folder, 'overlay.vmdk');
      createImage(overlay, { size: undefined, backing: image, subformat });
      expect(inOverlay(image, overlay, writeData)).toEqual([]);
      inOverlay(image, overlay, expectWritten);
    },
  );

  test('in another folder needs no permission, and says who else needs what', () => {
    const { image } = filledImage();
    const folder = tempFolder();
    const overlay = join(folder, 'overlay.vmdk');
    const [notice, ...more] = inOverlay(image, overlay, writeData);
    expect(more).toEqual([]);
    expect(notice).toMatch(/lies outside its folder; QEMU finds it as "\.\.\/.*--allow-outside/);
    expect(inOverlay(image, overlay, expectWritten)).toEqual([]);
    expect(() => openImage(overlay, { readOnly: true })).toThrow(/--allow-outside/);
    const { device } = openImage(overlay, { readOnly: true, allowOutside: true });
    expectWritten(device);
    device.close();
  });

  test('that was moved away from its image says that its name for it leads nowhere', () => {
    const { folder, image } = filledImage();
    const overlay = join(folder, 'overlay.vmdk');
    inOverlay(image, overlay, writeData);
    const moved = join(tempFolder(), 'moved.vmdk');
    writeFileSync(moved, readFileSync(overlay));
    const [notice] = inOverlay(image, moved, expectWritten);
    expect(notice).toBe(
      `${moved}: calls its parent "disk.vmdk", which is not ${image}; QEMU, and a mount of the overlay by itself, will not find it`,
    );
  });

  test('of a disk in an archive has it for its parent inside and outside', () => {
    const folder = tempFolder();
    const disk = streamDisk(folder, 'disk', 2001);
    const other = streamDisk(folder, 'other', 1000);
    const ova = join(folder, 'appliance.ova');
    const members = [disk, other].map(({ image }) => ({
      name: basename(image),
      bytes: readFileSync(image),
    }));
    writeOva(ova, members);
    for (const { image } of [disk, other]) rmSync(image);
    const overlay = join(folder, 'overlay.vmdk');
    const before = hashes([ova]);
    const written = Buffer.from(disk.content);
    DATA.copy(written, 70_000);
    const [notice] = inOverlay(
      ova,
      overlay,
      (device) => {
        device.write(DATA, 0, DATA.length, 70_000);
      },
      { disk: 'disk.vmdk' },
    );
    expect(notice).toMatch(
      /its parent is a disk inside an archive.*"disk\.vmdk", taken out of the archive/,
    );
    const compare = (device: BlockDevice): void => {
      expect(readDisk(device, 0, written.length).equals(written)).toBe(true);
    };
    inOverlay(ova, overlay, compare, { disk: '1' });
    expect(hashes([ova])).toEqual(before);
    // The other disk is not its parent, and without one to choose nobody knows.
    expect(overlayRefusal(ova, overlay, [folder], { disk: '2' })).toMatchObject({
      code: 'VMDK_WRONG_OVERLAY',
    });
    expect(overlayRefusal(ova, overlay, [folder])).toMatchObject({ code: 'VMDK_WHICH_DISK' });
    // By itself it waits for its parent beside it.
    expect(() => openImage(overlay, { readOnly: true })).toThrow(
      /its parent "disk\.vmdk" does not/,
    );
    writeFileSync(disk.image, members[0]?.bytes ?? '');
    const { device } = openImage(overlay, { readOnly: true });
    compare(device);
    device.close();
  });

  test('is looked at read-only, and not made then', () => {
    const { folder, image } = filledImage();
    const overlay = join(folder, 'overlay.vmdk');
    const failure = overlayRefusal(image, overlay, [folder], { readOnly: true });
    expect(failure.code).toBe('ENOENT');
    expect(failure.message).toMatch(/overlay\.vmdk: .*read-only/);
    inOverlay(image, overlay, writeData);
    const before = hashes([overlay]);
    inOverlay(
      image,
      overlay,
      (device) => {
        expect(device.readOnly).toBe(true);
        expectWritten(device);
      },
      { readOnly: true },
    );
    expect(hashes([overlay])).toEqual(before);
  });

  test('is taken back with what was made of it', () => {
    const { folder, image } = filledImage();
    const [fresh, empty, used] = ['fresh', 'empty', 'used'].map((name) =>
      join(folder, `${name}.vmdk`),
    ) as [string, string, string];
    writeFileSync(empty, '');
    inOverlay(image, used, writeData);
    const before = hashes([used]);
    for (const overlay of [fresh, empty, used]) {
      const { image: opened, takeBack } = openWith(image, overlay);
      takeBack();
      opened.device.close();
    }
    expect(existsSync(fresh)).toBe(false);
    expect(statSync(empty).size).toBe(0);
    expect(hashes([used])).toEqual(before);
  });
});

describe('a snapshot', () => {
  test('leaves nothing, and is not shared', () => {
    const { folder, image } = filledImage();
    const temporary = mkdtempSync(join(folder, 'tmp-'));
    const before = hashes([image]);
    const place = { kind: 'snapshot', folder: temporary } as const;
    const [one, two] = [0, 1].map(() =>
      openOverlaid(image, { readOnly: false, lock: true }, place),
    );
    onTestFinished(() => {
      one?.image.device.close();
      two?.image.device.close();
    });
    expect(readdirSync(temporary)).toEqual([]);
    expect(one?.image.notices).toEqual([]);
    writeData(one!.image.device);
    expectWritten(one!.image.device);
    expect(readDisk(two!.image.device, 5 * MIB, 9).equals(Buffer.alloc(9, 7))).toBe(true);
    one?.image.device.flush();
    expect(hashes([image])).toEqual(before);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('needs only to read an image, whatever it is called', () => {
    const { folder, image } = filledImage();
    const odd = join(folder, 'a "b"\nc.vmdk');
    writeFileSync(odd, readFileSync(image));
    chmodSync(odd, 0o444);
    const { image: opened } = openOverlaid(odd, { readOnly: false }, { kind: 'snapshot', folder });
    writeData(opened.device);
    expectWritten(opened.device);
    opened.device.close();
  });

  test('says where it could not be made', () => {
    const { folder, image } = filledImage();
    const place = { kind: 'snapshot', folder: join(folder, 'missing') } as const;
    const failure = (() => {
      try {
        return openOverlaid(image, { readOnly: false }, place);
      } catch (error) {
        return error;
      }
    })();
    expect(failure).not.toBeInstanceOf(VmdkError);
    expect(failure).toMatchObject({ code: 'ENOENT', path: place.folder });
  });
});
