/**
 * What the requests of a mount came to, counted where they are served: how many of each kind, their
 * bytes, errors and times. In memory that all threads share, with a slot for each thread, so that
 * nobody waits and nothing is lost: a thread adds to its own slot only, and who wants to know adds
 * the slots up. Numbers are Float64, which are read and written whole and exact up to 2^53.
 *
 * Times go into buckets: eight for each power of two, so a percentile is at most an eighth too high.
 */

/** The kinds that are told apart, in the order in which they are shown. */
export const REQUEST_KINDS = [
  'read',
  'write',
  'fsync',
  'flush',
  'fallocate',
  'lseek',
  'lookup',
  'getattr',
  'setattr',
  'open',
  'release',
  'readdir',
  'statfs',
  'other',
] as const;

export type RequestKind = (typeof REQUEST_KINDS)[number];

// The numbers of one kind: counts, bytes, milliseconds, and the buckets behind them.
const REQUESTS = 0;
const ERRORS = 1;
const BYTES = 2;
const TIME = 3;
const SLOWEST = 4;
const BUCKETS = 5;

const SUB_BITS = 3;
const SUBS = 1 << SUB_BITS;

/** Resolution of the buckets: 64 ns. */
const TICKS_PER_MS = 15_625;
const TICKS_MAX = 2 ** 31 - 1;
const BUCKET_COUNT = bucketOf(TICKS_MAX) + 1;

const KIND_NUMBERS = BUCKETS + BUCKET_COUNT;

/** Numbers of a cache line: threads do not share any. */
const LINE = 8;
const SLOT_NUMBERS = Math.ceil((KIND_NUMBERS * REQUEST_KINDS.length) / LINE + 1) * LINE;

/** What the requests of one kind came to; times in microseconds, as the server took them. */
export interface RequestCounts {
  readonly requests: number;
  /** Those that were answered with an error, expected ones (no such name, no more data) included. */
  readonly errors: number;
  /** Read, written, or zeroed. */
  readonly bytes: number;
  readonly microseconds: number;
  /** Null without requests. */
  readonly latency: Latency | null;
}

/** Half, nine tenths, ... of the requests took at most this long; microseconds. */
interface Latency {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** The number of a kind by its name, as `add` takes it; that of `other` for any other name. */
export function requestKind(name: string): number {
  const kind = REQUEST_KINDS.findIndex((each) => each === name);
  return kind < 0 ? REQUEST_KINDS.length - 1 : kind;
}

/** Shared memory for the counters of `threads` threads. */
export function newRequestCounters(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * SLOT_NUMBERS * 8);
}

/** The counters of one thread. */
export class RequestCounters {
  readonly #numbers: Float64Array;

  /** @param slot which of the threads this is, from 0 */
  constructor(shared: SharedArrayBuffer, slot: number) {
    this.#numbers = new Float64Array(shared, slot * SLOT_NUMBERS * 8, SLOT_NUMBERS);
  }

  /** A request of `kind` was served in `milliseconds`. */
  add(kind: number, hasFailed: boolean, milliseconds: number): void {
    const numbers = this.#numbers;
    const first = kind * KIND_NUMBERS;
    const bucket = bucketOf(Math.min(milliseconds * TICKS_PER_MS, TICKS_MAX) | 0);
    bump(numbers, first + REQUESTS, 1);
    if (hasFailed) bump(numbers, first + ERRORS, 1);
    bump(numbers, first + TIME, milliseconds);
    bump(numbers, first + BUCKETS + bucket, 1);
    if (milliseconds > (numbers[first + SLOWEST] ?? 0)) numbers[first + SLOWEST] = milliseconds;
  }

  /** A request of `kind` has moved `bytes`. */
  addBytes(kind: number, bytes: number): void {
    bump(this.#numbers, kind * KIND_NUMBERS + BYTES, bytes);
  }
}

function bump(numbers: Float64Array, index: number, by: number): void {
  numbers[index] = (numbers[index] ?? 0) + by;
}

/** Small numbers of ticks have a bucket each, then eight buckets share each power of two. */
function bucketOf(ticks: number): number {
  if (ticks < SUBS) return ticks;
  const shift = 31 - Math.clz32(ticks) - SUB_BITS;
  return (shift << SUB_BITS) + (ticks >>> shift);
}

/** Where a bucket ends, in microseconds. */
function bucketEnd(bucket: number): number {
  const shift = Math.max(0, (bucket >>> SUB_BITS) - 1);
  const ticks = (bucket - (shift << SUB_BITS) + 1) * 2 ** shift;
  return (ticks * 1000) / TICKS_PER_MS;
}

/** What all threads have counted. */
export function readRequestCounters(
  shared: SharedArrayBuffer,
): Readonly<Record<RequestKind, RequestCounts>> {
  const sum = new Float64Array(KIND_NUMBERS * REQUEST_KINDS.length);
  const all = new Float64Array(shared);
  for (let slot = 0; slot < all.length; slot += SLOT_NUMBERS) {
    sum.forEach((_, index) => {
      const number = all[slot + index] ?? 0;
      if (index % KIND_NUMBERS === SLOWEST) sum[index] = Math.max(sum[index] ?? 0, number);
      else bump(sum, index, number);
    });
  }
  const entries = REQUEST_KINDS.map((name, kind) => {
    const first = kind * KIND_NUMBERS;
    return [name, countsOf(sum.subarray(first, first + KIND_NUMBERS))] as const;
  });
  return Object.fromEntries(entries) as Record<RequestKind, RequestCounts>;
}

function countsOf(numbers: Float64Array): RequestCounts {
  const buckets = numbers.subarray(BUCKETS);
  const max = (numbers[SLOWEST] ?? 0) * 1000;
  const requests = numbers[REQUESTS] ?? 0;
  const percentile = (share: number): number =>
    rounded(Math.min(percentileOf(buckets, share), max));
  return {
    requests,
    errors: numbers[ERRORS] ?? 0,
    bytes: numbers[BYTES] ?? 0,
    microseconds: rounded((numbers[TIME] ?? 0) * 1000),
    latency:
      requests === 0
        ? null
        : { p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99), max: rounded(max) },
  };
}

/** Where the bucket ends below which `share` of what was counted lies. */
function percentileOf(buckets: Float64Array, share: number): number {
  // Not the number of requests: a thread may be about to add to the one or the other.
  const wanted = share * buckets.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  const bucket = buckets.findIndex((count) => (seen += count) >= wanted && seen > 0);
  return bucketEnd(Math.max(0, bucket));
}

/** Two places: the clock knows no more. */
function rounded(microseconds: number): number {
  return Math.round(microseconds * 100) / 100;
}
