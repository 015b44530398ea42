/** The files of a seed in memory, without their holes, to be written afresh for each case. */
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const BLOCK = 4096;

interface Part {
  readonly at: number;
  readonly bytes: Buffer;
}

/** A file that can be written again and again. */
export class SeedFile {
  readonly name: string;
  readonly length: number;
  readonly #parts: readonly Part[];

  constructor(name: string, bytes: Buffer) {
    this.name = name;
    this.length = bytes.length;
    this.#parts = partsWithData(bytes);
  }

  writeTo(folder: string): void {
    const fd = openSync(join(folder, this.name), 'w');
    for (const { at, bytes } of this.#parts) writeSync(fd, bytes, 0, bytes.length, at);
    ftruncateSync(fd, this.length);
    closeSync(fd);
  }

  /** `length` bytes from `start` on, as far as there are any. */
  slice(start: number, length: number): Buffer {
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, this.length - start)));
    for (const part of this.#parts) {
      const from = Math.max(start, part.at);
      const to = Math.min(start + bytes.length, part.at + part.bytes.length);
      if (from < to) part.bytes.copy(bytes, from - start, from - part.at, to - part.at);
    }
    return bytes;
  }
}

function partsWithData(file: Buffer): Part[] {
  const parts: Part[] = [];
  const zeros = Buffer.alloc(BLOCK);
  for (let at = 0; at < file.length;) {
    let end = at;
    const isData = (): boolean => {
      const block = file.subarray(end, end + BLOCK);
      return !block.equals(zeros.subarray(0, block.length));
    };
    while (end < file.length && isData()) end += BLOCK;
    if (end > at) parts.push({ at, bytes: Buffer.from(file.subarray(at, end)) });
    at = end + BLOCK;
  }
  return parts;
}

/** The files of `folder`, in the order of their names. */
export function loadFiles(folder: string): { name: string; bytes: Buffer }[] {
  const names = readdirSync(folder).sort();
  return names.map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));
}
