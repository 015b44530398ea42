/** What one thread of a conversion does, from its first piece to the last one. */
import { attachImage, type ImageDescription } from '../attach-image.js';
import type { BlockDevice } from '../block-device.js';
import { ConversionState } from './conversion-state.js';
import { DeviceTarget } from './device-target.js';
import { StreamTarget, type StreamTargetDescription } from './stream-target.js';

/** A conversion as it travels between threads. */
export interface ConversionJob {
  readonly source: ImageDescription;
  /** Bytes of the disk. */
  readonly size: number;
  readonly state: SharedArrayBuffer;
  readonly target:
    | {
        readonly kind: 'device';
        readonly image: ImageDescription;
        /** The parent of the image, as a disk of its own. */
        readonly parent: ImageDescription | undefined;
      }
    | StreamTargetDescription;
}

/** Does a share of `job`; all threads of a conversion call it, and return when nothing is left. */
export function runConversion(job: ConversionJob): void {
  const source = attachImage(job.source);
  const state = new ConversionState(job.state);
  if (job.target.kind === 'stream') {
    const target = new StreamTarget(job.target, state);
    runPieces(job, state, source, undefined, (piece) => {
      target.copy(source, piece);
    });
    return;
  }
  const { image, parent } = job.target;
  const beneath = parent === undefined ? undefined : attachImage(parent);
  const target = new DeviceTarget(image, beneath);
  runPieces(job, state, source, beneath, (piece) => {
    target.copy(source, piece);
  });
}

function runPieces(
  { size }: ConversionJob,
  state: ConversionState,
  source: BlockDevice,
  beneath: BlockDevice | undefined,
  copy: (piece: { start: number; end: number; ticket: number }) => void,
): void {
  const nextData = (offset: number): number => {
    const found = source.nextData(offset, size);
    if (beneath === undefined || offset >= beneath.size) return found;
    const limit = Math.min(found, beneath.size);
    const below = beneath.nextData(offset, limit);
    // Zeros over what a parent holds are a difference too.
    return below < limit ? below : found;
  };
  for (;;) {
    const piece = state.take(size, nextData);
    if (piece === undefined) return;
    copy(piece);
  }
}
