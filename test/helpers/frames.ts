/**
 * Frames of the kernel's FUSE protocol for tests without a kernel: an exchange over a file system,
 * and builders for requests whose header is not what a test is about. Places of fields are literals
 * from `<linux/fuse.h>`; nothing here knows the product's struct tables.
 */
import { constants } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { DiskFileSystem, initialMode } from '../../src/fs/disk-file-system.js';
import { newDiskState } from '../../src/fs/disk-state.js';
import type { FileSystem } from '../../src/fuse/file-system.js';
import { newRequestCounters, RequestCounters } from '../../src/fuse/request-counters.js';
import { Exchange, type ExchangeSettings } from '../../src/fuse/kernel/exchange.js';
import { tempFolder } from './temp-folder.js';

/** An exchange, and what it logged. */
export interface TestExchange {
  readonly exchange: Exchange;
  readonly lines: string[];
  /** Hands `request` in; the bytes of the reply, none where there is no reply. */
  readonly ask: (request: readonly number[]) => number[];
}

/** An exchange over `fileSystem`; what an earlier frame left in its buffers is garbage. */
export function exchangeOver(
  fileSystem: FileSystem,
  settings: Partial<ExchangeSettings> = {},
): TestExchange {
  const lines: string[] = [];
  const log = (line: string): void => {
    lines.push(line);
  };
  const exchange = new Exchange(fileSystem, {
    onlyUser: undefined,
    backingId: undefined,
    postpone: undefined,
    counters: new RequestCounters(newRequestCounters(1), 0),
    log,
    ...settings,
  });
  const ask = (request: readonly number[]): number[] => {
    exchange.request.fill(0xcc);
    exchange.request.set(request);
    exchange.reply.fill(0xdd);
    const length = exchange.handle(request.length);
    return [...exchange.reply.subarray(0, length)];
  };
  return { exchange, lines, ask };
}

/** An exchange over a new, empty disk of `size` bytes; failures of the engine are logged too. */
export function exchangeOverDisk(size: number): TestExchange {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size, backing: undefined });
  const { device } = openImage(image, { readOnly: false });
  onTestFinished(() => {
    device.close();
  });
  const lines: string[] = [];
  const log = (line: string): void => {
    lines.push(line);
  };
  const state = newDiskState({ uid: 3, gid: 4, mode: initialMode(device), mtime: 5000 });
  const fileSystem = new DiskFileSystem(device, {
    state,
    writebackCache: false,
    hasUncachedFiles: true,
    log,
  });
  return { ...exchangeOver(fileSystem, { log }), lines };
}

/** `value` as `bytes` little-endian bytes. */
export function littleEndian(value: bigint | number, bytes: number): number[] {
  const number = BigInt.asUintN(bytes * 8, BigInt(value));
  return Array.from({ length: bytes }, (_, index) => Number((number >> BigInt(index * 8)) & 0xffn));
}

/** The ASCII codes of `text`. */
export function ascii(text: string): number[] {
  return [...Buffer.from(text, 'latin1')];
}

/** Whose and what request a frame is. */
export interface HeaderFields {
  readonly nodeid?: bigint | number;
  readonly uid?: number;
}

/** A request with the unique 0xdeadbeefbaadf00d and a right `len`; of inode 2 unless told. */
export function frame(
  opcode: number,
  body: readonly number[],
  { nodeid = 2, uid = 0xc001d00d }: HeaderFields = {},
): number[] {
  return [
    ...littleEndian(40 + body.length, 4), // len
    ...littleEndian(opcode, 4), // opcode
    ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
    ...littleEndian(nodeid, 8), // nodeid
    ...littleEndian(uid, 4), // uid
    ...[0xfe, 0xca, 0x01, 0xc0], // gid
    ...[0x5e, 0xba, 0xde, 0xc0, 0x00, 0x00, 0x00, 0x00], // pid, total_extlen, padding
    ...body,
  ];
}

/** The body of READ, READDIR, READDIRPLUS and, without its data, WRITE. */
export function rangeBody(offset: bigint | number, size: number): number[] {
  return [
    ...littleEndian(0, 8), // fh
    ...littleEndian(offset, 8), // offset
    ...littleEndian(size, 4), // size
    ...littleEndian(0, 20), // read_flags or write_flags, lock_owner, flags, padding
  ];
}

/** The reply to a request of `frame` that failed. */
export function failed(name: keyof typeof constants.errno): number[] {
  return [
    ...[0x10, 0x00, 0x00, 0x00], // len
    ...littleEndian(-constants.errno[name], 4), // error
    ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ];
}

/** The reply to a request of `frame` that succeeded, with `payload`. */
export function succeeded(payload: readonly number[] = []): number[] {
  return [
    ...littleEndian(16 + payload.length, 4), // len
    ...[0x00, 0x00, 0x00, 0x00], // error
    ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
    ...payload,
  ];
}

/** A little-endian number of `bytes` bytes at `offset` of a frame. */
export function numberAt(bytes: readonly number[], offset: number, length: 4 | 8): number {
  const view = Buffer.from(bytes);
  return length === 4 ? view.readUInt32LE(offset) : Number(view.readBigUInt64LE(offset));
}

/** An opcode as a client that plays by the rules uses it. */
export interface ValidRequest {
  readonly name: string;
  readonly opcode: number;
  readonly nodeid: number;
  /** As short as it may be. */
  readonly body: readonly number[];
  /** Whether it has no reply. */
  readonly isSilent: boolean;
}

const NAME = ascii('a\0');

/** Every opcode that is served. */
export const VALID_REQUESTS: readonly ValidRequest[] = (
  [
    ['LOOKUP', 1, 1, NAME],
    ['FORGET', 2, 2, littleEndian(1, 8)],
    ['GETATTR', 3, 2, littleEndian(0, 16)],
    ['SETATTR', 4, 2, littleEndian(0, 88)],
    ['SYMLINK', 6, 1, NAME],
    ['ACCESS', 34, 2, littleEndian(4, 8)],
    ['MKNOD', 8, 1, NAME],
    ['MKDIR', 9, 1, NAME],
    ['UNLINK', 10, 1, NAME],
    ['RMDIR', 11, 1, NAME],
    ['RENAME', 12, 1, NAME],
    ['LINK', 13, 1, NAME],
    ['OPEN', 14, 2, littleEndian(0, 8)],
    ['READ', 15, 2, rangeBody(0, 4096)],
    ['WRITE', 16, 2, rangeBody(0, 0)],
    ['STATFS', 17, 1, []],
    ['RELEASE', 18, 2, littleEndian(0, 24)],
    ['FSYNC', 20, 2, littleEndian(0, 16)],
    ['FLUSH', 25, 2, littleEndian(0, 24)],
    ['OPENDIR', 27, 1, littleEndian(0, 8)],
    ['READDIR', 28, 1, rangeBody(0, 4096)],
    ['RELEASEDIR', 29, 1, littleEndian(0, 24)],
    ['FSYNCDIR', 30, 1, littleEndian(0, 16)],
    ['CREATE', 35, 1, NAME],
    ['INTERRUPT', 36, 0, littleEndian(1, 8)],
    ['DESTROY', 38, 0, []],
    ['BATCH_FORGET', 42, 0, littleEndian(0, 8)],
    ['FALLOCATE', 43, 2, littleEndian(0, 32)],
    ['READDIRPLUS', 44, 1, rangeBody(0, 4096)],
    ['RENAME2', 45, 1, NAME],
    ['LSEEK', 46, 2, littleEndian(0, 24)],
  ] as const
).map(([name, opcode, nodeid, body]) => ({
  name,
  opcode,
  nodeid,
  body,
  isSilent: ['FORGET', 'INTERRUPT', 'BATCH_FORGET'].includes(name),
}));
