/** Opening the image of a mount, with the overlay that was asked for. */
import { statSync } from 'node:fs';
import { openImage } from '../block/open-image.js';
import { openOverlaid, type OverlaidImage } from '../block/overlay.js';
import { MountError } from './mount-error.js';
import type { MountRequest } from './mount-request.js';
import { isInside, realPathOf } from './mountpoint.js';

/**
 * Opens what `request` asks for, to be mounted on `mountpoint`, a real path.
 *
 * @throws MountError for an overlay inside the mountpoint; what `openImage` and `openOverlaid` throw
 */
export function openRequested(request: MountRequest, mountpoint: string): OverlaidImage {
  const { image, open, overlay } = request;
  if (overlay === undefined) return { image: openImage(image, open), takeBack: () => undefined };
  if (overlay.kind === 'file') assertOutside(overlay.path, mountpoint);
  return openOverlaid(image, open, overlay);
}

/** When the disk of a mount that begins was last changed, in milliseconds since 1970. */
export function modifiedAt({ image, overlay }: MountRequest): number {
  return statSync(overlay?.kind === 'file' ? overlay.path : image).mtimeMs;
}

/** A folder that is mounted over cannot be reached any more. */
function assertOutside(overlay: string, mountpoint: string): void {
  const real = realPathOf(overlay);
  if (real !== mountpoint && !isInside(real, mountpoint)) return;
  throw new MountError(`${mountpoint}: the overlay ${overlay} lies inside its own mountpoint`);
}
