/** Options of a mount that leaves its image as it is: where the writes go instead. */
import { tmpdir } from 'node:os';
import type { Command } from 'commander';
import { absolutePath } from '../os/host-fs.js';
import type { OpenOptions } from '../block/open-image.js';
import type { OverlayPlace } from '../block/overlay.js';
import { UsageError } from '../mount/mount-error.js';

/** What is asked for, by a long option or with `-o`. */
export interface OverlayFlags {
  readonly overlay?: string | undefined;
  readonly snapshot?: boolean;
  /** Whether the image is a plain file, over which neither can lie. */
  readonly flat?: boolean | undefined;
}

/** Adds the options to a command. */
export function addOverlayOptions(command: Command): void {
  command
    .option(
      '--overlay <child>',
      'leave the image as it is and write to CHILD, an image that is its child; made if it is missing',
    )
    .option(
      '--snapshot',
      'leave the image as it is; what is written goes to a file in TMPDIR without a name, and is thrown away at unmount',
    );
}

/**
 * Where the writes go; undefined where they go to the image.
 *
 * @param options those of `-o`, which count before the long ones
 * @param open how the image is opened
 * @throws UsageError where the options contradict each other
 */
export function overlayOf(
  options: OverlayFlags,
  flags: OverlayFlags,
  open: OpenOptions,
): OverlayPlace | undefined {
  const overlay = options.overlay ?? flags.overlay;
  assertNoFlat(options, flags);
  if (options.snapshot !== true && flags.snapshot !== true) {
    if (overlay === '') throw new UsageError('overlay needs the name of a file');
    return overlay === undefined ? undefined : { kind: 'file', path: absolutePath(overlay) };
  }
  if (overlay !== undefined) {
    throw new UsageError(
      '--overlay keeps what is written and --snapshot throws it away; choose one of them',
    );
  }
  if (open.readOnly) {
    throw new UsageError('--snapshot is for writing, and -o ro forbids it; leave one of them out');
  }
  if (open.dropChangeTracking === true) {
    throw new UsageError(
      '--drop-change-tracking is for an image that is written; with --snapshot it is not, so leave one of them out',
    );
  }
  return { kind: 'snapshot', folder: absolutePath(tmpdir()) };
}

/** @throws UsageError where there is to be an overlay over a file without a descriptor */
function assertNoFlat(...given: readonly OverlayFlags[]): void {
  const isOverlaid = given.some(
    ({ overlay, snapshot }) => overlay !== undefined || snapshot === true,
  );
  if (!isOverlaid || !given.some(({ flat }) => flat === true)) return;
  throw new UsageError(
    '--flat opens a file without a descriptor, which no child can name as its parent; leave --overlay or --snapshot out, or copy the file',
  );
}
