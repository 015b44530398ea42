/**
 * Which files a disk uses, to find those it uses twice where that cannot be meant: a sparse file as
 * two extents, which would allocate over each other; a file that is written and is also a parent's,
 * or a descriptor. Plain extents of one image may share a file, each at its own place.
 */

/** One use of a file by a disk; `depth` counts the layers above. */
interface FileUse {
  readonly depth: number;
  readonly kind: 'descriptor' | 'sparse' | 'plain';
  readonly path: string;
}

/** A file that is used more often than it can be. */
interface FileConflict {
  readonly identity: string;
  readonly path: string;
  readonly count: number;
}

export class FileUses {
  readonly #uses = new Map<string, FileUse[]>();

  add(identity: string, use: FileUse): void {
    const before = this.#uses.get(identity);
    if (before === undefined) this.#uses.set(identity, [use]);
    else before.push(use);
  }

  /** @param readOnly whether nothing of the disk is written */
  conflicts(readOnly: boolean): FileConflict[] {
    return [...this.#uses]
      .filter(([, uses]) => isConflict(uses, readOnly))
      .map(([identity, uses]) => ({ identity, path: uses[0]?.path ?? '', count: uses.length }));
  }
}

function isConflict(uses: readonly FileUse[], readOnly: boolean): boolean {
  if (uses.filter(({ kind }) => kind === 'sparse').length > 1) return true;
  const isWritten = uses.some(({ depth, kind }) => depth === 0 && kind !== 'descriptor');
  if (readOnly || !isWritten || uses.length === 1) return false;
  return uses.some(({ depth, kind }) => depth > 0 || kind !== 'plain');
}
