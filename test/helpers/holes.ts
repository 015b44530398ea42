import { getSystemErrorName } from 'node:util';
import { libc } from '../../src/os/libc.js';

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** lseek(2) on a file that another process serves: the offset found, or the name of the error. */
export function seekHost(fd: number, whence: 'data' | 'hole', offset: number): number | string {
  const found = libc().lseek(fd, offset, whence === 'data' ? SEEK_DATA : SEEK_HOLE);
  return found < 0 ? getSystemErrorName(-libc().errno()) : found;
}

/** fallocate(2) on a file that another process serves: '' or the name of the error. */
export function fallocateHost(fd: number, mode: number, offset: number, length: number): string {
  return libc().fallocate(fd, mode, offset, length) < 0 ? getSystemErrorName(-libc().errno()) : '';
}

/** The stretches of data in a file, `[start, end)` in bytes, as SEEK_DATA and SEEK_HOLE tell them. */
export function dataRanges(fd: number): [number, number][] {
  const ranges: [number, number][] = [];
  for (let at = 0; ;) {
    const start = seekHost(fd, 'data', at);
    if (typeof start === 'string') return ranges;
    const end = seekHost(fd, 'hole', start);
    if (typeof end === 'string') throw new Error(`no hole after ${start}: ${end}`);
    ranges.push([start, end]);
    at = end;
  }
}
