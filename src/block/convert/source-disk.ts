/**
 * The disk that a conversion reads: an image of any kind, a disk in an archive, or a plain file. A
 * file is plain when nothing in it says that it is an image; images of other programs are told by
 * how they begin, because as plain files they would be copied as they are, and mean nothing.
 */
import { ADAPTER_DEFAULT, ADAPTERS, type Adapter } from '../../vmdk/disk-geometry.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { libcIfAny } from '../../os/libc.js';
import { attachImage, type ImageDescription } from '../attach-image.js';
import type { BlockDevice } from '../block-device.js';
import { readBytes } from '../find-descriptor.js';
import { FileLocks } from '../image-locks.js';
import { openImage, type OpenedImage } from '../open-image.js';
import type { OpenPermissions } from '../open-policy.js';
import { OpenedFiles, type OpenedFile } from '../opened-files.js';
import { plainImage } from '../plain-image.js';

export interface SourceOptions {
  readonly permissions: OpenPermissions;
  /** Which disk of an archive. */
  readonly disk: string | undefined;
  readonly lock: boolean;
  readonly form: SourceForm;
}

/** What a source is: an image, a plain file whatever it looks like, or what it looks like. */
export type SourceForm = 'image' | 'plain' | 'any';

/** A disk that is open for reading. */
export interface SourceDisk {
  readonly image: ImageDescription;
  readonly device: BlockDevice;
  /** That of the image or of the nearest parent that names one. */
  readonly adapter: Adapter;
  readonly notices: readonly string[];
}

/**
 * Opens the disk `path` for reading, and locks it for that.
 *
 * @throws VmdkError that says what is wrong with it, or what else it is; the system's error
 */
export function openSource(path: string, options: SourceOptions): SourceDisk {
  // Without the C library all of a file counts as data.
  libcIfAny();
  if (options.form === 'plain') return openPlain(path, options);
  try {
    const { disk, lock, permissions } = options;
    const image = openImage(path, { ...permissions, readOnly: true, disk, lock });
    const { description, device, notices } = image;
    return { image: description, device, adapter: adapterOf(image), notices };
  } catch (error) {
    const isOther = error instanceof VmdkError && error.code === 'VMDK_NOT_VMDK';
    if (!isOther || error.file !== path || options.form === 'image') throw error;
    return openPlain(path, options);
  }
}

function openPlain(path: string, options: SourceOptions): SourceDisk {
  const notices: string[] = [];
  const files = new OpenedFiles(options.lock ? new FileLocks(notices) : undefined);
  try {
    const file = files.open(path, options.permissions.allowDevices === true);
    if (options.form === 'any') assertPlain(file);
    if (file.length === 0) {
      throw new VmdkError('VMDK_TRUNCATED', path, 'is empty; a disk has at least one byte');
    }
    const image = plainImage(file, true);
    return { image, device: attachImage(image), adapter: ADAPTER_DEFAULT, notices };
  } catch (error) {
    files.closeAll();
    throw error;
  }
}

/** How images of other programs begin. */
const OTHER_IMAGES: readonly (readonly [start: string, name: string])[] = [
  ['QFI\xfb', 'a QCOW image'],
  ['conectix', 'a VHD image'],
  ['vhdxfile', 'a VHDX image'],
  ['<<< ', 'a VirtualBox image (VDI)'],
];

/** @throws VmdkError VMDK_NOT_VMDK for an image of another program */
function assertPlain(file: OpenedFile): void {
  const head = readBytes(file, 0, 8).toString('latin1');
  const [, name] = OTHER_IMAGES.find(([start]) => head.startsWith(start)) ?? [];
  if (name === undefined) return;
  throw new VmdkError(
    'VMDK_NOT_VMDK',
    file.path,
    `looks like ${name}; convert it to raw with qemu-img first, or take its bytes as the disk's with --raw-input`,
  );
}

function adapterOf({ chain }: OpenedImage): Adapter {
  const names = chain.map(({ descriptor }) => descriptor.entries.get('ddb.adaptertype')?.value);
  const name = names.find((value) => value !== undefined)?.toLowerCase();
  return ADAPTERS.find((adapter) => adapter.toLowerCase() === name) ?? ADAPTER_DEFAULT;
}
