/**
 * What is done to a seed's files to damage them: plain data, so that a case can be saved, sent to
 * another process and done again. Where an edit does not fit the file any more it does nothing.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { SeedFile } from './seed-files.js';

/** Offsets and lengths in bytes. */
export type Edit =
  | { readonly kind: 'poke'; readonly file: string; readonly at: number; readonly hex: string }
  | { readonly kind: 'length'; readonly file: string; readonly length: number }
  /** A descriptor: all of the file, or of at most `room` bytes in it. */
  | {
      readonly kind: 'text';
      readonly file: string;
      readonly at: number;
      readonly room: number | undefined;
      readonly text: string;
    }
  /** `count` little-endian numbers in a row. */
  | {
      readonly kind: 'fill';
      readonly file: string;
      readonly at: number;
      readonly size: 4 | 8;
      readonly count: number;
      readonly first: string;
      readonly step: string;
    }
  /** Bytes of another seed. */
  | {
      readonly kind: 'splice';
      readonly file: string;
      readonly at: number;
      readonly seed: string;
      readonly from: string;
      readonly start: number;
      readonly length: number;
    }
  /** Puts the checksum of a tar header right. */
  | { readonly kind: 'checksum'; readonly file: string; readonly at: number };

/** Largest file made; beyond, no file system of a host goes. */
const FILE_BYTES_MAX = 2 ** 52;

/** Does `edits` to the files in `folder`, one after the other. */
export function applyEdits(
  folder: string,
  edits: readonly Edit[],
  filesOf: (seed: string) => readonly SeedFile[],
): void {
  for (const edit of edits) {
    const fd = openSync(join(folder, edit.file), 'r+');
    try {
      apply(fd, edit, filesOf);
    } finally {
      closeSync(fd);
    }
  }
}

function apply(fd: number, edit: Edit, filesOf: (seed: string) => readonly SeedFile[]): void {
  switch (edit.kind) {
    case 'poke':
      put(fd, Buffer.from(edit.hex, 'hex'), edit.at);
      break;
    case 'length':
      setLength(fd, edit.length);
      break;
    case 'text':
      putText(fd, Buffer.from(edit.text, 'latin1'), edit.at, edit.room);
      break;
    case 'fill':
      put(fd, numbers(edit), edit.at);
      break;
    case 'splice': {
      const source = filesOf(edit.seed).find(({ name }) => name === edit.from);
      if (source !== undefined) put(fd, source.slice(edit.start, edit.length), edit.at);
      break;
    }
    case 'checksum':
      putChecksum(fd, edit.at);
      break;
  }
}

function put(fd: number, bytes: Uint8Array, at: number): void {
  if (at >= 0 && at + bytes.length <= FILE_BYTES_MAX) writeSync(fd, bytes, 0, bytes.length, at);
}

/** A host's file system may know no files that long. */
function setLength(fd: number, length: number): void {
  if (length < 0 || length > FILE_BYTES_MAX) return;
  try {
    ftruncateSync(fd, length);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EFBIG')) throw error;
  }
}

function putText(fd: number, text: Buffer, at: number, room: number | undefined): void {
  if (room !== undefined) {
    const padded = Buffer.alloc(room);
    text.copy(padded);
    put(fd, padded, at);
    return;
  }
  put(fd, text, at);
  setLength(fd, at + text.length);
}

function numbers(row: Extract<Edit, { kind: 'fill' }>): Buffer {
  const { count, size } = row;
  const [first, step] = [BigInt(row.first), BigInt(row.step)];
  const bytes = Buffer.alloc(size * count);
  for (let index = 0; index < count; index++) {
    const value = BigInt.asUintN(size * 8, first + step * BigInt(index));
    if (size === 4) bytes.writeUInt32LE(Number(value), index * 4);
    else bytes.writeBigUInt64LE(value, index * 8);
  }
  return bytes;
}

const TAR_BLOCK = 512;

function putChecksum(fd: number, at: number): void {
  if (at + TAR_BLOCK > fstatSync(fd).size) return;
  const block = Buffer.alloc(TAR_BLOCK);
  readSync(fd, block, 0, TAR_BLOCK, at);
  block.write(' '.repeat(8), 148, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(fd, Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `, 'latin1'), at + 148);
}
