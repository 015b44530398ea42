/**
 * Looking at an image without keeping anybody from using it. A program that writes to it meanwhile can
 * leave it half changed between two reads, which looks like damage. So what looks like damage in a
 * file that somebody writes to is looked at again, and is then said to be in use.
 */
import { closeSync, constants } from 'node:fs';
import { openSync, statSync } from '../os/host-fs.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { useOf } from './image-locks.js';
import { openImage, type OpenedImage, type OpenOptions } from './open-image.js';

const ATTEMPTS = 5;

/**
 * Opens the image `path` read-only and without locks, has `look` look at it, then `show` what was
 * found, and closes it. Only `look` is called again where the image changes under it.
 *
 * @param options `lock` and `readOnly` are not looked at
 * @throws VmdkError VMDK_IN_USE where the image only looks damaged because another program writes to
 *   it; what `openImage`, `look` and `show` throw
 */
export function lookAtImage<T, R>(
  path: string,
  options: Omit<OpenOptions, 'lock' | 'readOnly'>,
  look: (image: OpenedImage) => T,
  show: (image: OpenedImage, found: T) => R,
): R {
  const { found, image } = untilSound(() => {
    const opened = openImage(path, { ...options, readOnly: true, lock: false });
    try {
      return { image: opened, found: look(opened) };
    } catch (error) {
      opened.device.close();
      throw error;
    }
  });
  try {
    return show(image, found);
  } finally {
    image.device.close();
  }
}

/** What a change that is half done can look like. */
function looksDamaged(error: unknown): error is VmdkError {
  if (!(error instanceof VmdkError)) return false;
  return error.code === 'VMDK_TRUNCATED' || error.code.startsWith('VMDK_BAD_');
}

function untilSound<T>(look: () => T): T {
  for (let attempt = 1; ; attempt++) {
    try {
      return look();
    } catch (error) {
      if (!looksDamaged(error) || !isBeingWritten(error.file)) throw error;
      if (attempt === ATTEMPTS) throw halfWritten(error);
    }
  }
}

/** What to say of an image that another program writes to while it is looked at. */
export function liveNotices({ chain }: OpenedImage): string[] {
  return chain
    .filter(({ use }) => use.by === 'writer')
    .map(({ path }) => `${path}: another program writes to it; what is shown may change`);
}

/** Whether another program has the file at `path` open for writing. */
function isBeingWritten(path: string): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false;
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return useOf({ fd, path }).by === 'writer';
  } finally {
    closeSync(fd);
  }
}

function halfWritten(error: VmdkError): VmdkError {
  return new VmdkError(
    'VMDK_IN_USE',
    error.file,
    `another program writes to it, and it looks damaged meanwhile (${error.reason}); look again when that program has closed it`,
    { cause: error },
  );
}
