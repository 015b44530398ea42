/**
 * Memory that C calls get by its address. Node never moves what an ArrayBuffer holds, but frees it
 * when nobody holds the array any more: whoever pins one keeps it in a field or a module. Each array
 * that is pinned is looked up by itself, so the same array must be passed on, not a part of it.
 */
import { libc } from './libc.js';

const PAGE_BYTES = 4096;

const addresses = new WeakMap<Uint8Array, number>();

/** Makes `bytes` known by its address; it must never be transferred to another thread. */
function pin(bytes: Uint8Array): Uint8Array {
  addresses.set(bytes, libc().addressOf(bytes));
  return bytes;
}

/** Where `bytes` lies, or undefined where it was not pinned. */
export function pinnedAddress(bytes: Uint8Array): number | undefined {
  return addresses.get(bytes);
}

/**
 * `length` bytes of zeros, pinned, placed so that the byte at `aligned` begins a page: the kernel
 * copies whole pages faster when they are aligned.
 */
export function allocatePinned(length: number, aligned: number): Uint8Array {
  const whole = new Uint8Array(length + 2 * PAGE_BYTES);
  // Every page is there from the start: one that had to be found in the middle of a request could
  // wait, when memory is short, for pages that only this request can write.
  whole.fill(0);
  const start = (libc().addressOf(whole) + aligned) % PAGE_BYTES;
  return pin(whole.subarray(PAGE_BYTES - start, PAGE_BYTES - start + length));
}

/** The bytes of pinned memory from `start` on, pinned by themselves. */
export function pinnedTail(bytes: Uint8Array, start: number): Uint8Array {
  return pin(bytes.subarray(start));
}
