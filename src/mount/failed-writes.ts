/** What is to be said at the end of a mount in which writes failed. */
import { failedWrites } from '../block/attach-image.js';
import type { OpenedImage } from '../block/open-image.js';
import type { MountRequest } from './mount-request.js';

/**
 * A sentence for the user, or undefined where no write failed or nothing that was written is kept:
 * a program that writes through the page cache may never have looked at the error.
 */
export function failedWritesNotice(
  { description }: OpenedImage,
  { overlay }: Pick<MountRequest, 'overlay'>,
): string | undefined {
  const count = failedWrites(description);
  if (count === 0 || overlay?.kind === 'snapshot') return undefined;
  const path = description.layers[0]?.path ?? '';
  const writes = count === 1 ? '1 write' : `${count} writes`;
  return `${path}: ${writes} failed while it was mounted, so files inside may be damaged; check them`;
}
