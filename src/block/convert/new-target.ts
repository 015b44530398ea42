/** The image that a conversion writes, of any kind: how it is begun, and how it is completed. */
import { closeSync, constants, fsyncSync } from 'node:fs';
import { openSync } from '../../os/host-fs.js';
import { alignUp } from '../../binary/alignment.js';
import type { Adapter } from '../../vmdk/disk-geometry.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { STREAM_OPTIMIZED, type ImageKind } from '../../vmdk/subformat.js';
import { attachImage, type ImageDescription } from '../attach-image.js';
import { createImage, streamDescriptor } from '../create-image.js';
import { HostFile } from '../host-file.js';
import { openImage } from '../open-image.js';
import type { OpenPermissions } from '../open-policy.js';
import { plainImage } from '../plain-image.js';
import type { ConversionJob } from './conversion-job.js';
import type { ConversionState } from './conversion-state.js';
import { beginStream, finishStream } from './stream-target.js';

/** What can be made: an image, or a plain file. */
export type TargetKind = ImageKind | 'raw';

/** What a new image is to be. */
export interface TargetPlan {
  readonly kind: TargetKind;
  /** Bytes of the disk. */
  readonly size: number;
  readonly adapter: Adapter;
  /** Path of the parent, and the image that it is. */
  readonly parent: { readonly path: string; readonly image: ImageDescription } | undefined;
  readonly permissions: OpenPermissions;
}

/** An image that is being written. */
export interface NewTarget {
  readonly target: ConversionJob['target'];
  /** Completes it, makes it durable and closes it; after the last piece. */
  finish(): void;
  /** Closes its files, where it is not to be completed. */
  abandon(): void;
}

/**
 * Begins the image `path` in a folder of its own; it will be moved to the folder `home`.
 *
 * @throws what `createImage` throws
 */
export function beginTarget(
  path: string,
  home: string,
  plan: TargetPlan,
  state: ConversionState,
): NewTarget {
  if (plan.kind === 'raw') return beginPlain(path, plan.size);
  if (plan.kind === STREAM_OPTIMIZED) return beginStreamFile(path, plan, state);
  const { adapter, kind: subformat, parent, permissions, size } = plan;
  const backing = parent?.path;
  createImage(path, { size, backing, subformat, adapter, permissions, home });
  const image = openImage(path, { ...permissions, readOnly: false, parent: backing });
  const { description, device } = image;
  return {
    target: { kind: 'device', image: description, parent: parent?.image },
    finish: () => {
      device.close();
    },
    // Not the device: it would complete what is thrown away.
    abandon: () => {
      closeFiles(description.layers);
    },
  };
}

function closeFiles(layers: ReturnType<typeof openImage>['description']['layers']): void {
  const files = layers.flatMap(({ descriptor, extents }) => [
    descriptor.file,
    ...extents.flatMap((extent) => ('file' in extent ? [extent.file] : [])),
  ]);
  for (const fd of new Set(files.map((file) => file.fd))) closeSync(fd);
}

function beginPlain(path: string, size: number): NewTarget {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
  const file = { fd, path, length: alignUp(size, SECTOR_BYTES), identity: '' };
  const image = plainImage(file, false);
  const device = attachImage(image);
  new HostFile(file).setLength(size);
  return {
    target: { kind: 'device', image, parent: undefined },
    finish: () => {
      fsyncSync(fd);
      device.close();
    },
    abandon: () => {
      closeSync(fd);
    },
  };
}

function beginStreamFile(path: string, plan: TargetPlan, state: ConversionState): NewTarget {
  const { adapter, size } = plan;
  const descriptor = streamDescriptor(path, size, adapter);
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
  const target = beginStream({ fd, path }, size, descriptor, state);
  return {
    target,
    finish: () => {
      finishStream(target, state);
      fsyncSync(fd);
      closeSync(fd);
    },
    abandon: () => {
      closeSync(fd);
    },
  };
}
