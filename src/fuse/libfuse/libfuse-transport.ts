/**
 * The transport over the fuse-native package: libfuse 2.9, every request through the one JavaScript
 * thread. Its traps, and what is done about each, are in native-notes/fuse-native.md.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { escapeName } from '../../os/fuse-mount.js';
import { closeOnExec } from '../../os/inherited-descriptors.js';
import type { FileSystem } from '../file-system.js';
import { RequestCounters } from '../request-counters.js';
import type { Transport, TransportOptions } from '../transport.js';
import { countedOperations } from './counted-operations.js';
import { loadFuseNative } from './fuse-native.js';
import { operationsFor } from './operations.js';

/** How often we look whether libfuse has closed its /dev/fuse, milliseconds. */
const END_POLL_MS = 50;

/** Longest option string and mountpoint: fuse-native copies each into a buffer of 1024 bytes. */
const NATIVE_STRING_MAX = 1023;

/** The `-o` argument for libfuse 2. A source too long for it is cut from the left. */
export function libfuseOptions(options: TransportOptions): string {
  // Names of partitions come and go.
  const names = 'entry_timeout=0';
  const fixed = ['big_writes', names, 'subtype=vmdkfs', ...(options.readOnly ? ['ro'] : [])];
  const others = options.options.map(escapeName);
  const head = `-o${[...fixed, ...others].join(',')},fsname=`;
  const characters = Array.from(options.fsname, escapeName);
  let length = Buffer.byteLength(head) + Buffer.byteLength(characters.join(''));
  let first = 0;
  for (; length > NATIVE_STRING_MAX && first < characters.length; first++)
    length -= Buffer.byteLength(characters[first] ?? '');
  return head + characters.slice(first).join('');
}

/**
 * Mounts `fileSystem`; settles when the kernel's INIT was answered.
 *
 * @throws where the package cannot be loaded, or libfuse (which says why on stderr) cannot mount
 */
export async function mountLibfuse(
  fileSystem: FileSystem,
  options: TransportOptions & { readonly counters: SharedArrayBuffer },
): Promise<Transport> {
  if (Buffer.byteLength(options.mountpoint) > NATIVE_STRING_MAX) {
    throw new Error(`mountpoint path is longer than ${NATIVE_STRING_MAX} bytes`);
  }
  const Fuse = loadFuseNative();
  class ConfiguredFuse extends Fuse {
    _fuseOptions(): string {
      return libfuseOptions(options);
    }
  }
  const before = new Set(fuseDescriptors());
  // Without a timeout: a slow disk must not turn into ETIMEDOUT.
  const counters = new RequestCounters(options.counters, 0);
  const operations = countedOperations(operationsFor(fileSystem), counters);
  const fuse = new ConfiguredFuse(options.mountpoint, operations, { timeout: false });
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  const descriptors = fuseDescriptors().filter((fd) => !before.has(fd));
  // A program of ours that has the connection keeps it alive, also when it is the one that waits.
  for (const fd of descriptors) closeOnExec(fd);
  return { name: 'libfuse', threads: 1, passthrough: false, ended: closed(descriptors) };
}

/**
 * Settles when libfuse has closed `descriptors`. fuse-native never says that its loop has ended,
 * but libfuse closes /dev/fuse then, and the descriptor can be watched.
 */
function closed(descriptors: readonly number[]): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (descriptors.some(isFuseDevice)) return;
      clearInterval(timer);
      resolve();
    }, END_POLL_MS);
  });
}

function fuseDescriptors(): number[] {
  return readdirSync('/proc/self/fd').map(Number).filter(isFuseDevice);
}

function isFuseDevice(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false; // closed
  }
}
