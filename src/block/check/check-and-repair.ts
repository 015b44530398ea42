/** `vmdkfs check`: checks an image, mends what can be mended, and checks it again. */
import { FileLocks } from '../image-locks.js';
import { libcIfAny } from '../../os/libc.js';
import { sourceOf } from '../open-image.js';
import { policyOf, type OpenPermissions } from '../open-policy.js';
import { OpenedFiles, type OpenedFile } from '../opened-files.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { checkImage, type CheckResult } from './check-image.js';
import type { Problem, Problems } from './problem.js';
import { mend, mendable } from './repair.js';

export interface CheckOptions {
  readonly permissions: OpenPermissions;
  /** Which disk of an archive. */
  readonly disk: string | undefined;
  /** Whether to mend what can be mended. */
  readonly repair: boolean;
  readonly lock: boolean;
  /** Told how much of a file is done, from 0 to 1. */
  readonly progress: (path: string, share: number) => void;
}

/** What was found; where something was mended, what was found after that. */
export interface CheckReport {
  readonly problems: Problems;
  /** What was mended. */
  readonly mended: readonly Problem[];
  /** What can still be mended, or could be without `repair`. */
  readonly mendable: readonly Problem[];
  readonly notices: readonly string[];
}

/**
 * Checks the image `path`; parents are checked too, and never mended.
 *
 * @throws VmdkError where it is no image, or in use; the system's error
 */
export function checkAndRepair(path: string, options: CheckOptions): CheckReport {
  const notices: string[] = [];
  // What is locked stays so from the first look to the last repair.
  const files = new OpenedFiles(options.lock ? new FileLocks(notices) : undefined);
  // Without the C library all of a file counts as data, and nothing can be given back.
  libcIfAny();
  try {
    const first = check(files, path, options, notices);
    notices.push(...files.takeRemarks());
    const found = mendableIn(first);
    for (const [kept, reason] of first.kept) {
      if (mendable(first.problems, kept).length === 0) continue;
      notices.push(`${kept}: cannot be mended: ${reason}`);
    }
    if (!options.repair || found.length === 0) {
      return { problems: first.problems, mended: [], mendable: found, notices };
    }
    mendAll(files, distinct(first.files), found);
    const second = check(files, path, options, []);
    const left = mendableIn(second);
    return { problems: second.problems, mended: found, mendable: left, notices };
  } finally {
    files.closeAll();
  }
}

/**
 * Mends `found` in `files`. They were locked for reading, so that nobody has written to them since;
 * those that are written are locked for writing, all of them before the first is.
 *
 * @throws VmdkError VMDK_IN_USE with nothing written; the system's error
 */
function mendAll(files: OpenedFiles, all: readonly OpenedFile[], found: readonly Problem[]): void {
  const written = all.filter(({ path }) => found.some(({ file }) => file === path));
  for (const file of written) files.lockForWriting(file);
  for (const file of written) {
    const mine = found.filter((problem) => problem.file === file.path);
    mend(files.openForWriting(file, true), mine);
  }
}

function check(
  files: OpenedFiles,
  path: string,
  options: CheckOptions,
  notices: string[],
): CheckResult {
  const policy = policyOf({ ...options.permissions, readOnly: !options.repair });
  const source = sourceOf(files, path, policy, options.disk, notices);
  if (options.repair && source.readOnlyReason !== undefined) {
    throw new VmdkError(
      'VMDK_READ_ONLY',
      source.path,
      `${source.readOnlyReason}, and cannot be mended`,
    );
  }
  return checkImage(source, options.progress);
}

function mendableIn(result: CheckResult): Problem[] {
  return distinct(result.files).flatMap(({ path }) => mendable(result.problems, path));
}

/** A disk may use a file more than once. */
function distinct(files: readonly OpenedFile[]): OpenedFile[] {
  return [...new Map(files.map((file) => [file.identity, file])).values()];
}
