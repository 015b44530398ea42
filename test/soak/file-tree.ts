/** A tree of files that is worked on, with a manifest of what must be in it. */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILES_MAX = 150;
const BYTES_MAX = 300_000;
const FOLDERS = 8;

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export class FileTree {
  /** Path in the tree, and the hash of what is in it. */
  readonly #manifest = new Map<string, string>();
  #count = 0;

  /** Creates, overwrites, renames and deletes in `root`. */
  work(root: string, operations: number): void {
    for (let folder = 0; folder < FOLDERS; folder++) {
      mkdirSync(join(root, `d${folder}`), { recursive: true });
    }
    for (let count = 0; count < operations; count++) {
      const path = this.#any();
      const kind = randomInt(10);
      if (path === undefined || (kind < 5 && this.#manifest.size < FILES_MAX)) {
        this.#write(root, this.#newPath());
      } else if (kind < 7) {
        this.#write(root, path);
      } else if (kind < 9) {
        const to = this.#newPath();
        renameSync(join(root, path), join(root, to));
        this.#manifest.set(to, this.#manifest.get(path) ?? '');
        this.#manifest.delete(path);
      } else {
        rmSync(join(root, path));
        this.#manifest.delete(path);
      }
    }
  }

  /** @throws Error where the tree is not what the manifest says */
  compare(root: string): void {
    const expected = new Map(this.#manifest);
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name).slice(root.length + 1);
      if (expected.get(path) !== hash(readFileSync(join(root, path)))) {
        throw new Error(`${path} is not what was written`);
      }
      expected.delete(path);
    }
    const [missing] = expected.keys();
    if (missing !== undefined) throw new Error(`${missing} is missing`);
  }

  #write(root: string, path: string): void {
    const bytes = randomBytes(randomInt(BYTES_MAX));
    writeFileSync(join(root, path), bytes);
    this.#manifest.set(path, hash(bytes));
  }

  #newPath(): string {
    this.#count += 1;
    return `d${randomInt(FOLDERS)}/f${this.#count}`;
  }

  #any(): string | undefined {
    const paths = [...this.#manifest.keys()];
    return paths.length === 0 ? undefined : paths[randomInt(paths.length)];
  }
}
