/** What can be wrong with an image, and what mends it. */

/** Kinds of problem; the names are those of `vmdkfs check --json`. */
type ProblemKind =
  /** A file, header or descriptor that cannot be used at all; the message says why. */
  | 'unusable'
  | 'cid-mismatch'
  | 'truncated'
  | 'capacity'
  /** A directory entry that leads to no table, or to one that is another's. */
  | 'directory-entry'
  /** A table entry that leads past the end of the file. */
  | 'beyond-end'
  /** A table entry that leads into header, descriptor, directories or tables. */
  | 'over-metadata'
  /** A table entry of no known kind. */
  | 'unknown-entry'
  /** Two grains of the disk in one place of the file. */
  | 'shared-grain'
  /** A grain table and its redundant copy differ. */
  | 'copies-differ'
  /** What the file says of its allocated space is not so. */
  | 'allocation-record'
  /** A compressed grain that cannot be read. */
  | 'broken-grain'
  /** The image was not closed cleanly. */
  | 'unclean'
  /** Space of the file that nothing leads to. */
  | 'leaked';

/**
 * `error`: data is or may become wrong. `unclean`: what a crash leaves, which nobody notices.
 * `leak`: only space is lost.
 */
type Severity = 'error' | 'unclean' | 'leak';

/**
 * The order in which an image is mended, a barrier after each: what is led to before what leads
 * there, and that all is well last.
 */
export const PHASES = ['tables', 'directories', 'space', 'flag'] as const;

/** A change of one file that mends a problem; bytes. */
export interface Repair {
  readonly phase: (typeof PHASES)[number];
  /** What it does, for the user: `take the entry of the redundant table`. */
  readonly what: string;
  readonly writes?: readonly { readonly position: number; readonly bytes: Uint8Array }[];
  /** Stretches to give back to the host. */
  readonly punches?: readonly { readonly position: number; readonly length: number }[];
  /** The length that the file gets. */
  readonly length?: number;
}

/** Something that is wrong with an image. */
export interface Problem {
  readonly kind: ProblemKind;
  readonly severity: Severity;
  readonly file: string;
  /** Byte of the file at which the wrong value stands; undefined where it has no place. */
  readonly offset?: number;
  /** Number of the grain in its extent. */
  readonly grain?: number;
  /** Byte of the disk at which that grain begins. */
  readonly diskOffset?: number;
  readonly message: string;
  /** What mends it; absent where that would be a guess. */
  readonly repairs?: readonly Repair[];
}

/** Problems kept at most; the rest is only counted. */
const PROBLEMS_MAX = 10_000;

/** What was found, in the order in which it was found. */
export class Problems {
  readonly #list: Problem[] = [];
  #dropped = 0;

  /** @returns whether it is in the list */
  add(problem: Problem): boolean {
    if (this.isFull) {
      this.#dropped += 1;
      return false;
    }
    this.#list.push(problem);
    return true;
  }

  /** Takes back that `problem`, one of the list, can be mended. */
  withdrawRepairs(problem: Problem): void {
    const { repairs, ...others } = problem;
    const index = this.#list.indexOf(problem);
    if (repairs !== undefined && index >= 0) this.#list[index] = others;
  }

  /** Whether further problems are only counted. */
  get isFull(): boolean {
    return this.#list.length >= PROBLEMS_MAX;
  }

  get list(): readonly Problem[] {
    return this.#list;
  }

  /** Problems beyond those in the list. */
  get dropped(): number {
    return this.#dropped;
  }

  /** How many errors there are in `file`, those without a repair only where `unmended`. */
  errorsIn(file: string, unmended = false): number {
    return this.#list.filter(
      (problem) =>
        problem.file === file &&
        problem.severity === 'error' &&
        !(unmended && problem.repairs !== undefined),
    ).length;
  }
}
