/**
 * Sparse members of a tar archive, whose holes are not in it: where what is there belongs. GNU tar has
 * written this in four ways: in the header and blocks behind it (type `S`), in pax records with a key
 * for each number (0.0) or one for all (0.1), and in front of the data (1.0).
 */
import type { FileRange } from '../file-window.js';
import { readBytes } from '../find-descriptor.js';
import type { OpenedFile } from '../opened-files.js';

const BLOCK_BYTES = 512;

/** Stretches of data of all members of an archive, at most. */
export const REGIONS_MAX = 1_000_000;

/** Where a sparse member has data. */
export interface SparseMap {
  /** Bytes of the member as it was, holes included. */
  readonly length: number;
  /** Where each stretch begins, and its length: two numbers each. */
  readonly numbers: readonly number[];
  /** Bytes between the header and the data. */
  readonly headBytes: number;
}

/** In the header of type `S` and in the blocks behind it; bytes. */
const MAP_OFFSET = 386;
const MAP_ENTRIES = 4;
const MORE_OFFSET = 482;
const LENGTH_OFFSET = 483;
const BLOCK_ENTRIES = 21;
const BLOCK_MORE_OFFSET = 504;
const NUMBER_BYTES = 12;

/**
 * The map of a member of type `S`, of which `block` is the header; undefined where it is damaged.
 *
 * @param at where the header ends
 */
export function readGnuMap(file: OpenedFile, block: Buffer, at: number): SparseMap | undefined {
  const length = numberIn(block, LENGTH_OFFSET);
  const numbers = entriesIn(block, MAP_OFFSET, MAP_ENTRIES);
  let headBytes = 0;
  for (let isMore = block[MORE_OFFSET] !== 0; isMore; headBytes += BLOCK_BYTES) {
    if (at + headBytes >= file.length || numbers.length > 2 * REGIONS_MAX) return undefined;
    const next = readBytes(file, at + headBytes, BLOCK_BYTES);
    numbers.push(...entriesIn(next, 0, BLOCK_ENTRIES));
    isMore = next[BLOCK_MORE_OFFSET] !== 0;
  }
  return { length, numbers, headBytes };
}

/** Pairs of numbers, up to the first that is empty. */
function entriesIn(block: Buffer, offset: number, count: number): number[] {
  const numbers: number[] = [];
  for (let entry = 0; entry < count; entry++) {
    const at = offset + entry * 2 * NUMBER_BYTES;
    if (block[at + NUMBER_BYTES] === 0) break;
    numbers.push(numberIn(block, at), numberIn(block, at + NUMBER_BYTES));
  }
  return numbers;
}

/** Octal digits, or a big-endian number behind a set high bit; NaN for anything else. */
function numberIn(block: Buffer, offset: number): number {
  const field = block.subarray(offset, offset + NUMBER_BYTES);
  if (field[0] === 0x80) return Number(`0x${field.toString('hex', 1)}`);
  const text = field
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .trimStart();
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : NaN;
}

/** What pax records say of a sparse member. */
export interface SparseRecords {
  readonly name: string | undefined;
  /** Of the member as it was. */
  readonly length: number;
  /** As in `SparseMap`; undefined where they are in front of the data. */
  readonly numbers: readonly number[] | undefined;
}

/** What the records of a pax header say of a sparse member; undefined where it is none. */
export function parseSparseRecords(bytes: Buffer): SparseRecords | undefined {
  const values = new Map<string, string>();
  let numbers: number[] = [];
  for (const [key, value] of recordsIn(bytes)) {
    if (key === 'offset' || key === 'numbytes') numbers.push(decimal(value));
    else if (key === 'map') numbers = value === '' ? [] : value.split(',').map(decimal);
    else values.set(key, value);
  }
  const length = values.get('realsize') ?? values.get('size');
  if (length === undefined) return undefined;
  const isInData = values.get('major') === '1';
  const name = values.get('name');
  return { name, length: decimal(length), numbers: isInData ? undefined : numbers };
}

const PREFIX = 'GNU.sparse.';

/** The keys behind `GNU.sparse.`, and their values. */
function* recordsIn(bytes: Buffer): Generator<[key: string, value: string]> {
  for (let at = 0; at < bytes.length;) {
    const blank = bytes.indexOf(' ', at);
    const length = blank < 0 ? NaN : decimal(bytes.toString('latin1', at, blank));
    if (!(length > 0)) return;
    const equals = bytes.indexOf('=', blank);
    const key = bytes.toString('latin1', blank + 1, equals);
    if (equals > 0 && equals < at + length && key.startsWith(PREFIX)) {
      yield [key.slice(PREFIX.length), bytes.toString('utf8', equals + 1, at + length - 1)];
    }
    at += length;
  }
}

function decimal(text: string): number {
  return /^\d{1,16}$/.test(text) ? Number(text) : NaN;
}

/** Read at once of a map in front of the data, bytes. */
const MAP_STEP = 64 * 1024;

/**
 * The map in front of the data of a member, which are `stored` bytes at `at` together; undefined where
 * it is damaged.
 */
export function readMapInData(
  file: OpenedFile,
  at: number,
  stored: number,
  length: number,
): SparseMap | undefined {
  const numbers: number[] = [];
  let count: number | undefined;
  let text = '';
  let end = 0;
  for (let done = 0; done < stored;) {
    const step = Math.min(MAP_STEP, stored - done);
    text += readBytes(file, at + done, step).toString('latin1');
    done += step;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      end += line.length + 1;
      if (count === undefined) count = decimal(line);
      else numbers.push(decimal(line));
      if (!(count <= REGIONS_MAX)) return undefined;
      if (numbers.length < 2 * count) continue;
      return { length, numbers, headBytes: Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES };
    }
    if (text.length > MAP_STEP) return undefined;
  }
  return undefined;
}

/**
 * Where the data of a member is in the archive, which is `stored` bytes at `place`; undefined where
 * the map does not fit it.
 */
export function rangesOf(map: SparseMap, place: number, stored: number): FileRange[] | undefined {
  const { length, numbers } = map;
  const ranges: FileRange[] = [];
  let end = 0;
  let bytes = 0;
  for (let index = 0; index < numbers.length; index += 2) {
    const [start = NaN, count = NaN] = numbers.slice(index, index + 2);
    // A number that is none fails here.
    if (!(start >= end && count >= 0 && start + count <= length)) return undefined;
    ranges.push({ start, place: place + bytes, length: count });
    bytes += count;
    end = start + count;
  }
  return bytes === stored && Number.isSafeInteger(length) ? ranges : undefined;
}
