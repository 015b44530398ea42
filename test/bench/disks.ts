/** The disks that are measured: some prepared once, some made anew for every measurement. */
import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compressibleFilling, randomFilling } from './filling.js';
import { run, vmdkfs } from './programs.js';

/**
 * `full`: monolithicSparse with every grain allocated; `flat`: monolithicFlat with the same data;
 * `fresh`: monolithicSparse without a grain; `child`: a fresh child of the full one; `chain`: the
 * youngest of many images, each the child of the next and the full one the base; `stream`:
 * streamOptimized with data that compresses.
 */
export type DiskKind = 'full' | 'flat' | 'fresh' | 'child' | 'chain' | 'stream';

/** Images of a `chain`. */
export const CHAIN_IMAGES = 60;

/** The file with a prepared disk's data; a child's is its base's. */
const DATA_FILES = {
  full: 'full.vmdk',
  flat: 'flat-flat.vmdk',
  child: 'full.vmdk',
  chain: 'full.vmdk',
  stream: 'stream.vmdk',
} as const;

/** The disks of one run of the benchmark, each as an image and as a plain file, in `folder`. */
export class Disks {
  readonly #folder: string;
  readonly #interrupt: AbortSignal;

  private constructor(folder: string, interrupt: AbortSignal) {
    this.#folder = folder;
    this.#interrupt = interrupt;
  }

  /** Makes the disks of `bytes` that measuring `kinds` needs; throws where a program fails. */
  static async prepare(
    folder: string,
    kinds: readonly DiskKind[],
    bytes: number,
    interrupt: AbortSignal,
  ): Promise<Disks> {
    const disks = new Disks(folder, interrupt);
    const needs = (...some: DiskKind[]): boolean => some.some((kind) => kinds.includes(kind));
    if (needs('stream')) await disks.#makeStream(bytes);
    if (needs('full', 'flat', 'child', 'chain')) {
      await disks.#fill('full.raw', randomFilling(bytes));
    }
    if (needs('full', 'child', 'chain')) {
      await disks.#convert('full.raw', 'monolithicSparse', 'full.vmdk');
    }
    if (needs('flat')) await disks.#convert('full.raw', 'monolithicFlat', 'flat.vmdk');
    // Or the host would write them back while something else is being measured.
    await run('sync', [], interrupt);
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
    if (kind !== 'fresh') await this.#cache(DATA_FILES[kind]);
    switch (kind) {
      case 'full':
      case 'flat':
      case 'stream':
        return this.#path(`${kind}.vmdk`);
      case 'chain':
        // Jobs that write to the base change its CID.
        return this.#makeChain();
      case 'fresh':
      case 'child': {
        const fresh = this.#path('fresh.vmdk');
        const backing = ['--backing', this.#path('full.vmdk')];
        const source = kind === 'child' ? backing : ['--size', String(bytes)];
        await vmdkfs('create', fresh, ...source);
        return fresh;
      }
    }
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

  async #makeStream(bytes: number): Promise<void> {
    await this.#fill('stream.raw', compressibleFilling(bytes));
    await this.#convert('stream.raw', 'streamOptimized', 'stream.vmdk');
    await rm(this.#path('stream.raw'));
  }

  async #makeChain(): Promise<string> {
    let parent = this.#path('full.vmdk');
    for (let place = CHAIN_IMAGES - 1; place >= 1; place--) {
      this.#interrupt.throwIfAborted();
      const child = this.#path(chainImage(place));
      await rm(child, { force: true });
      await vmdkfs('create', child, '--backing', parent);
      parent = child;
    }
    return parent;
  }

  async #fill(name: string, filling: Iterable<Uint8Array>): Promise<void> {
    await writeFile(this.#path(name), filling, { signal: this.#interrupt });
  }

  async #convert(raw: string, subformat: string, image: string): Promise<void> {
    const to = ['-O', 'vmdk', '-o', `subformat=${subformat}`, this.#path(image)];
    await run('qemu-img', ['convert', '-f', 'raw', this.#path(raw), ...to], this.#interrupt);
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

/** The image at a place of the chain, from 1, which is the youngest. */
function chainImage(place: number): string {
  return `chain-${place}.vmdk`;
}
