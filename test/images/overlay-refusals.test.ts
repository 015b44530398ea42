/** Overlays that do not go with an image: they are refused, and nothing is made or changed. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { openOverlaid } from '../../src/block/overlay.js';
import { writeDescriptor } from '../helpers/images.js';
import { writeOva } from '../helpers/ova-file.js';
import { DATA, inOverlay, openWith, overlayRefusal, writeData } from '../helpers/overlays.js';
import { filledImage } from '../helpers/refusal.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

describe('refused, with nothing made and nothing changed, is', () => {
  test.each(['disk.vmdk', 'link.vmdk', 'disk-flat.vmdk'])('the image itself as %s', (name) => {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    createImage(image, { size: MIB, backing: undefined, subformat: 'monolithicFlat' });
    symlinkSync(image, join(folder, 'link.vmdk'));
    const failure = overlayRefusal(image, join(folder, name), [folder]);
    expect(failure).toMatchObject({ code: 'VMDK_WRONG_OVERLAY' });
    expect(failure.message).toContain(`is a file of the image ${image} itself`);
  });

  test('a parent of the image, and the archive that it is in', () => {
    const { folder, image } = filledImage();
    const child = join(folder, 'child.vmdk');
    inOverlay(image, child, writeData);
    expect(overlayRefusal(child, image, [folder])).toMatchObject({ code: 'VMDK_WRONG_OVERLAY' });
    const ova = join(folder, 'appliance.ova');
    writeOva(ova, [{ name: 'disk.vmdk', bytes: readFileSync(image) }]);
    expect(overlayRefusal(ova, ova, [folder]).message).toContain('is a file of the image');
  });

  test('an image of its own, and what is no image', () => {
    const { folder, image } = filledImage();
    const [other, text] = [join(folder, 'other.vmdk'), join(folder, 'notes.txt')];
    createImage(other, { size: 64 * MIB, backing: undefined });
    writeFileSync(text, 'do not forget the milk\n');
    const failure = overlayRefusal(image, other, [folder]);
    expect(failure).toMatchObject({ code: 'VMDK_WRONG_OVERLAY' });
    expect(failure.message).toBe(
      `${other}: is an image of its own, and no child of ${image}; name a new file, or a child of it`,
    );
    expect(overlayRefusal(image, text, [folder])).toMatchObject({ code: 'VMDK_NOT_VMDK' });
    expect(overlayRefusal(image, folder, [folder])).toMatchObject({ code: 'VMDK_NOT_A_FILE' });
  });

  test('a child of another image, unless that is what the user wants', () => {
    const { folder, image } = filledImage();
    const [small, equal] = [join(folder, 'small.vmdk'), join(folder, 'equal.vmdk')];
    createImage(small, { size: 8 * MIB, backing: undefined });
    createImage(equal, { size: 64 * MIB, backing: undefined });
    const [ofSmall, ofEqual] = [join(folder, 'of-small.vmdk'), join(folder, 'of-equal.vmdk')];
    inOverlay(small, ofSmall, () => undefined);
    inOverlay(equal, ofEqual, () => undefined);
    expect(overlayRefusal(image, ofSmall, [folder], { force: true }).message).toBe(
      `${ofSmall}: is a disk of ${8 * MIB} bytes, and ${image} one of ${64 * MIB}; it belongs to another image`,
    );
    const failure = overlayRefusal(image, ofEqual, [folder]);
    expect(failure).toMatchObject({ code: 'VMDK_CID_MISMATCH' });
    expect(failure.message).toMatch(
      /of-equal\.vmdk: is the child of an image with CID [0-9a-f]{8}, and .*disk\.vmdk has CID [0-9a-f]{8}: .*--force/,
    );
    const notices = inOverlay(image, ofEqual, () => undefined, { force: true });
    expect(notices[0]).toMatch(/of-equal\.vmdk: .* going on all the same/);
  });

  test('an overlay whose image was modified since', () => {
    const { folder, image } = filledImage();
    const overlay = join(folder, 'overlay.vmdk');
    inOverlay(image, overlay, writeData);
    const { device } = openImage(image, { readOnly: false });
    device.write(DATA, 0, 1, 0);
    device.close();
    expect(overlayRefusal(image, overlay, [folder])).toMatchObject({ code: 'VMDK_CID_MISMATCH' });
  });

  test('a child that cannot be written', () => {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    createImage(image, { size: MIB, backing: undefined });
    const cid = /^CID=([0-9a-f]+)/m.exec(readFileSync(image, 'latin1'))?.[1] ?? '';
    const overlay = join(folder, 'overlay.vmdk');
    createImage(join(folder, 'extent.vmdk'), { size: MIB, backing: undefined });
    const more = { parentCid: cid, hint: 'disk.vmdk' };
    writeDescriptor(overlay, [`RDONLY ${MIB / 512} SPARSE "extent.vmdk"`], more);
    const failure = overlayRefusal(image, overlay, [folder]);
    expect(failure).toMatchObject({ code: 'VMDK_WRONG_OVERLAY' });
    expect(failure.message).toContain('cannot be written: its extent is RDONLY');
  });

  test('an overlay beside another user of the image, or of the overlay', () => {
    const { folder, image } = filledImage();
    const [first, second] = [join(folder, 'first.vmdk'), join(folder, 'second.vmdk')];
    const writer = openImage(image, { readOnly: false, lock: true });
    expect(overlayRefusal(image, first, [folder])).toMatchObject({ code: 'VMDK_IN_USE' });
    writer.device.close();
    const { image: opened } = openWith(image, first);
    expect(overlayRefusal(image, first, [folder])).toMatchObject({ code: 'VMDK_IN_USE' });
    expect(() => openImage(image, { readOnly: false, lock: true })).toThrow(/is in use by another/);
    // The image is only read, so another overlay may lie over it at the same time.
    expect(inOverlay(image, second, writeData)).toEqual([]);
    opened.device.close();
    expect(inOverlay(image, first, writeData)).toEqual([]);
  });

  test('an overlay that VMware has marked, before it is made', () => {
    const { folder, image } = filledImage();
    const overlay = join(folder, 'overlay.vmdk');
    mkdirSync(`${overlay}.lck`);
    writeFileSync(join(`${overlay}.lck`, 'M1.lck'), '');
    expect(overlayRefusal(image, overlay, [folder])).toMatchObject({ code: 'VMDK_IN_USE' });
  });

  test('a name that cannot be', () => {
    const { folder, image } = filledImage();
    const missing = join(folder, 'missing', 'overlay.vmdk');
    expect(overlayRefusal(image, missing, [folder])).toMatchObject({ code: 'ENOENT' });
    expect(overlayRefusal(image, join(image, 'overlay.vmdk'), [folder])).toMatchObject({
      code: 'ENOTDIR',
    });
    expect(overlayRefusal(image, join(folder, 'a"b.vmdk'), [folder])).toMatchObject({
      code: 'EINVAL',
    });
    expect(overlayRefusal(image, join(folder, 'x'.repeat(300)), [folder])).toMatchObject({
      code: 'ENAMETOOLONG',
    });
  });

  test('a disk that is too large for it', () => {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    writeDescriptor(image, [`RW ${(4 * MIB * MIB) / 512} ZERO`]);
    const failure = overlayRefusal(image, join(folder, 'overlay.vmdk'), [folder]);
    expect(failure).toMatchObject({ code: 'EFBIG' });
    expect(failure.message).toMatch(/seSparse child with vmdkfs create --backing/);
    expect(() => openOverlaid(image, { readOnly: false }, { kind: 'snapshot', folder })).toThrow(
      /holds at most 2 TiB/,
    );
    // The way out that the message names is one.
    const overlay = join(folder, 'child.vmdk');
    createImage(overlay, { size: undefined, backing: image, subformat: 'seSparse' });
    inOverlay(image, overlay, (device) => {
      device.write(DATA, 0, DATA.length, 3 * MIB * MIB);
    });
  });
});
