/** Opening the image of a mount, with the overlay that was asked for. */
import { fstatSync } from 'node:fs';
import { statSync } from '../os/host-fs.js';
import { childrenBeside, describeChildren } from '../block/children-beside.js';
import { openImage, type OpenedImage } from '../block/open-image.js';
import { openOverlaid, type OverlaidImage } from '../block/overlay.js';
import { plainJudge } from '../image/recognise/plain-disk.js';
import { MountError } from './mount-error.js';
import type { MountRequest } from './mount-request.js';
import { isInside, realPathOf } from './mountpoint.js';

/**
 * Opens what `request` asks for, to be mounted on `mountpoint`, a real path.
 *
 * @throws MountError for an overlay inside the mountpoint; what `openImage` and `openOverlaid` throw
 */
export function openRequested(request: MountRequest, mountpoint: string): OverlaidImage {
  const { flat, image, open, overlay } = request;
  if (overlay === undefined) {
    const plain = flat ? plainJudge(open.force === true) : undefined;
    const opened = openImage(image, { ...open, plain });
    return { image: withNoticeOfChildren(opened), takeBack: () => undefined };
  }
  if (overlay.kind === 'snapshot') return openOverlaid(image, open, overlay);
  assertOutside(overlay.path, mountpoint);
  const opened = openOverlaid(image, open, overlay);
  // An overlay that was there before may have children itself.
  return { ...opened, image: withNoticeOfChildren(opened.image) };
}

/** Says of an image that will be written which children beside it do not survive that. */
function withNoticeOfChildren(opened: OpenedImage): OpenedImage {
  const [facts] = opened.chain;
  const [layer] = opened.description.layers;
  if (facts === undefined || layer === undefined || layer.readOnly) return opened;
  const { dev, ino } = fstatSync(layer.descriptor.file.fd);
  const children = childrenBeside({ ...facts, identity: `${dev}:${ino}` });
  if (children.length === 0) return opened;
  const notice = `${facts.path}: ${describeChildren(children)} once this disk is written; mount it with -o ro or --snapshot to leave it as it is`;
  return { ...opened, notices: [...opened.notices, notice] };
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
