/**
 * The functions of node:fs that take or give paths, for paths whose bytes need not be UTF-8
 * (`binary/path-text.ts`). Their arguments, results and errors are those of node:fs.
 */
import * as fs from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { bytesOfPath, isPlainText, pathOfBytes } from '../binary/path-text.js';

type Call = (path: string | Buffer, ...rest: readonly unknown[]) => unknown;

/** `call` with a path as its first argument. */
function onPath<F>(call: F): F {
  const plain = call as Call;
  return ((path: string, ...rest: readonly unknown[]) => {
    if (typeof path !== 'string' || isPlainText(path)) return plain(path, ...rest);
    try {
      return plain(bytesOfPath(path), ...rest);
    } catch (error) {
      throw withPath(error, path);
    }
  }) as F;
}

/** Node's own text of the path has lost some of its bytes. */
function withPath(error: unknown, path: string): unknown {
  return error instanceof Error ? Object.assign(error, { path }) : error;
}

export const accessSync = onPath(fs.accessSync);
export const chmodSync = onPath(fs.chmodSync);
export const existsSync = onPath(fs.existsSync);
export const lstatSync = onPath(fs.lstatSync);
export const mkdirSync = onPath(fs.mkdirSync);
export const openSync = onPath(fs.openSync);
export const readFileSync = onPath(fs.readFileSync);
export const rmSync = onPath(fs.rmSync);
export const rmdirSync = onPath(fs.rmdirSync);
export const statSync = onPath(fs.statSync);
export const statfsSync = onPath(fs.statfsSync);
export const unlinkSync = onPath(fs.unlinkSync);
export const writeFileSync = onPath(fs.writeFileSync);

/** link(2) and rename(2). */
export function linkSync(from: string, to: string): void {
  fs.linkSync(hostPath(from), hostPath(to));
}

/** rename(2). */
export function renameSync(from: string, to: string): void {
  fs.renameSync(hostPath(from), hostPath(to));
}

/** The names in a folder, in no order. */
export function readdirSync(folder: string): string[] {
  const read = onPath((path: string) => fs.readdirSync(path, { encoding: 'buffer' }));
  return read(folder).map(pathOfBytes);
}

/** What a link says. */
export function readlinkSync(path: string): string {
  return pathOfBytes(onPath((each: string) => fs.readlinkSync(each, { encoding: 'buffer' }))(path));
}

/** The path without links, as the system follows it: `..` behind a link is not what it is in text. */
export function realpathSync(path: string): string {
  const read = onPath((each: string) => fs.realpathSync.native(each, { encoding: 'buffer' }));
  return pathOfBytes(read(path));
}

/** A name in a folder, and whether it is that of a regular file. */
export interface FolderEntry {
  readonly name: string;
  readonly isFile: boolean;
}

/**
 * The entries of a folder, in no order, read `bufferSize` at a time.
 *
 * @throws the system's error
 */
export function* folderEntries(folder: string, bufferSize: number): Generator<FolderEntry> {
  // @types/node has `utf8` only.
  const encoding = 'buffer' as BufferEncoding;
  const open = onPath((path: string) => fs.opendirSync(path, { bufferSize, encoding }));
  const entries = open(folder);
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
      const name = entry.name as string | Buffer;
      yield {
        name: typeof name === 'string' ? name : pathOfBytes(name),
        isFile: entry.isFile(),
      };
    }
  } finally {
    entries.closeSync();
  }
}

/** A path as seen from the root, `.` and `..` resolved as text. */
export function absolutePath(path: string): string {
  return isAbsolute(path) ? resolve(path) : resolve(workingFolder(), path);
}

/** The folder that this process is in. */
function workingFolder(): string {
  const folder = process.cwd();
  return folder.includes('\ufffd') ? readlinkSync('/proc/self/cwd') : folder;
}

/** A path as node:fs takes it. */
function hostPath(path: string): string | Buffer {
  return isPlainText(path) ? path : bytesOfPath(path);
}
