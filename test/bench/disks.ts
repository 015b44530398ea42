/** The disks that are measured: some prepared once, some made anew for every measurement. */
import { randomBytes } from 'node:crypto';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, vmdkfs } from './programs.js';

/**
 * `full`: monolithicSparse with every grain allocated; `flat`: monolithicFlat with the same data;
 * `fresh`: monolithicSparse without a grain; `child`: a fresh child of the full one.
 */
export type DiskKind = 'full' | 'flat' | 'fresh' | 'child';

/** Bytes of the block that a disk is filled with. */
const FILL_BYTES = 16 * 1024 * 1024;

/** The disks of one run of the benchmark, each as an image and as a plain file, in `folder`. */
export class Disks {
  readonly #folder: string;
  readonly #interrupt: AbortSignal;

  private constructor(folder: string, interrupt: AbortSignal) {
    this.#folder = folder;
    this.#interrupt = interrupt;
  }

  /** Makes the disks of `bytes` that measuring `kinds` needs; throws where qemu-img fails. */
  static async prepare(
    folder: string,
    kinds: readonly DiskKind[],
    bytes: number,
    interrupt: AbortSignal,
  ): Promise<Disks> {
    const disks = new Disks(folder, interrupt);
    const raw = disks.#path('full.raw');
    await writeFile(raw, filling(bytes, interrupt));
    const written = [raw];
    const convert = async (subformat: string, image: string): Promise<void> => {
      const to = ['-O', 'vmdk', '-o', `subformat=${subformat}`, disks.#path(image)];
      await run('qemu-img', ['convert', '-f', 'raw', raw, ...to], interrupt);
    };
    if (kinds.includes('full') || kinds.includes('child')) {
      await convert('monolithicSparse', 'full.vmdk');
      written.push(disks.#path('full.vmdk'));
    }
    if (kinds.includes('flat')) {
      await convert('monolithicFlat', 'flat.vmdk');
      written.push(disks.#path('flat-flat.vmdk'));
    }
    // Or the host would write them back while something else is being measured.
    await run('sync', written, interrupt);
    return disks;
  }

  /**
   * Makes a disk ready for one measurement, its data in the page cache; its path.
   *
   * @param bytes size of a fresh disk
   */
  async make(kind: DiskKind, form: 'image' | 'raw', bytes: number): Promise<string> {
    // What the last one wrote, and freed, must not be the next one's load.
    await run('sync', [], this.#interrupt);
    return form === 'image' ? this.#image(kind, bytes) : this.#raw(kind, bytes);
  }

  /** Removes what the last measurement wrote, so that the host does not write it back. */
  async discard(): Promise<void> {
    await rm(this.#path('fresh.raw'), { force: true });
    await rm(this.#path('fresh.vmdk'), { force: true });
  }

  async #image(kind: DiskKind, bytes: number): Promise<string> {
    if (kind === 'flat') {
      await this.#cache('flat-flat.vmdk');
      return this.#path('flat.vmdk');
    }
    const full = this.#path('full.vmdk');
    if (kind !== 'fresh') await this.#cache('full.vmdk');
    if (kind === 'full') return full;
    const fresh = this.#path('fresh.vmdk');
    const source = kind === 'child' ? ['--backing', full] : ['--size', String(bytes)];
    await vmdkfs('create', fresh, ...source);
    return fresh;
  }

  async #raw(kind: DiskKind, bytes: number): Promise<string> {
    if (kind === 'full' || kind === 'flat') {
      await this.#cache('full.raw');
      return this.#path('full.raw');
    }
    const fresh = this.#path('fresh.raw');
    await writeFile(fresh, '');
    await truncate(fresh, bytes);
    return fresh;
  }

  /** Reads a file into the page cache, and leaves nothing of it to be written back. */
  async #cache(name: string): Promise<void> {
    const script = 'sync -- "$1" && exec cat -- "$1" > /dev/null';
    await run('sh', ['-c', script, 'sh', this.#path(name)], this.#interrupt);
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

/** Random bytes to fill a disk with; the same block again and again, for speed. */
function* filling(bytes: number, interrupt: AbortSignal): Generator<Uint8Array, void, undefined> {
  const block = randomBytes(Math.min(FILL_BYTES, bytes));
  for (let left = bytes; left > 0; left -= block.length) {
    interrupt.throwIfAborted();
    yield block.subarray(0, left);
  }
}
