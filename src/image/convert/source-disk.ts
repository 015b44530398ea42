/**
 * The disk that a conversion reads: an image of any kind, a disk in an archive, or a plain file. A
 * file is plain when nothing in it says that it is something else: the bytes of an archive, a text
 * or an image of another program mean nothing as a disk.
 */
import { ADAPTER_DEFAULT, ADAPTERS, type Adapter } from '../../vmdk/disk-geometry.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { libcIfAny } from '../../os/libc.js';
import { attachImage, type ImageDescription } from '../../block/attach-image.js';
import type { BlockDevice } from '../../block/block-device.js';
import { FileLocks } from '../../block/image-locks.js';
import { openImage, type OpenedImage } from '../../block/open-image.js';
import type { OpenPermissions } from '../../block/open-policy.js';
import { OpenedFiles } from '../../block/opened-files.js';
import { plainImage } from '../../block/plain-image.js';
import { plainNotice } from '../recognise/plain-disk.js';

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
    if (file.length === 0) {
      throw new VmdkError('VMDK_TRUNCATED', path, 'is empty; copy or download it again');
    }
    if (options.form === 'any') notices.push(plainNotice(file, '--raw-input'));
    const image = plainImage(file, true);
    return { image, device: attachImage(image), adapter: ADAPTER_DEFAULT, notices };
  } catch (error) {
    files.closeAll();
    throw error;
  }
}

function adapterOf({ chain }: OpenedImage): Adapter {
  const names = chain.map(({ descriptor }) => descriptor.entries.get('ddb.adaptertype')?.value);
  const name = names.find((value) => value !== undefined)?.toLowerCase();
  return ADAPTERS.find((adapter) => adapter.toLowerCase() === name) ?? ADAPTER_DEFAULT;
}
