/** `vmdkfs check`: checks an image, mends what can be mended, and checks it again. */
import { lockFiles } from '../image-locks.js';
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
  const files = new OpenedFiles();
  const notices: string[] = [];
  // Without the C library all of a file counts as data, and nothing can be given back.
  libcIfAny();
  const locked = new Map<string, OpenedFile>();
  try {
    const first = check(files, path, options, { notices, locked });
    const found = mendableIn(first);
    for (const [kept, reason] of first.kept) {
      if (mendable(first.problems, kept).length === 0) continue;
      notices.push(`${kept}: cannot be mended: ${reason}`);
    }
    if (!options.repair || found.length === 0) {
      return { problems: first.problems, mended: [], mendable: found, notices };
    }
    mendAll(files, distinct(first.files), found, options.lock ? locked : undefined);
    // What was locked stays so: new descriptors of this process would meet the old ones.
    const second = check(files, path, { ...options, lock: false }, { notices: [], locked });
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
 * @param locked the descriptors that have the locks; undefined where there are none
 * @throws VmdkError VMDK_IN_USE with nothing written; the system's error
 */
function mendAll(
  files: OpenedFiles,
  all: readonly OpenedFile[],
  found: readonly Problem[],
  locked: ReadonlyMap<string, OpenedFile> | undefined,
): void {
  const written = all.filter(({ path }) => found.some(({ file }) => file === path));
  const owners = written.flatMap(({ identity }) => locked?.get(identity) ?? []);
  lockFiles(
    owners.map((file) => ({ file, isWritten: true })),
    [],
  );
  for (const file of written) {
    const mine = found.filter((problem) => problem.file === file.path);
    mend(files.openForWriting(file, true), mine);
  }
}

function check(
  files: OpenedFiles,
  path: string,
  options: CheckOptions,
  context: { readonly notices: string[]; readonly locked: Map<string, OpenedFile> },
): CheckResult {
  const { locked, notices } = context;
  const policy = policyOf({ ...options.permissions, readOnly: !options.repair });
  const source = sourceOf(files, path, policy, options.disk);
  if (options.repair && source.readOnlyReason !== undefined) {
    throw new VmdkError(
      'VMDK_READ_ONLY',
      source.path,
      `${source.readOnlyReason}, and cannot be mended`,
    );
  }
  return checkImage(source, {
    opened: (file) => {
      if (!options.lock || locked.has(file.identity)) return;
      locked.set(file.identity, file);
      lockFiles([{ file, isWritten: false }], notices);
    },
    progress: options.progress,
  });
}

function mendableIn(result: CheckResult): Problem[] {
  return distinct(result.files).flatMap(({ path }) => mendable(result.problems, path));
}

/** A disk may use a file more than once. */
function distinct(files: readonly OpenedFile[]): OpenedFile[] {
  return [...new Map(files.map((file) => [file.identity, file])).values()];
}
