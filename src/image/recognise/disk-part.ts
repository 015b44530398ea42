/**
 * Files that are one part of a disk: which disk that is, by the descriptors beside them, and what to
 * open instead.
 */
import { basename, dirname, join } from 'node:path';
import { existsSync, realpathSync, statSync } from '../../os/host-fs.js';
import { imagesBeside, type ImageBeside } from '../../block/images-beside.js';
import type { BareExtent } from '../../block/find-descriptor.js';
import { decodeFileNames } from '../../vmdk/file-names.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { decodeSparseHeader, SPARSE_MAGICNUMBER } from '../../vmdk/sparse-extent-header.js';
import { sampleAt } from './file-sample.js';

/** A file as a part of the disk that a descriptor beside it describes. */
export interface DiskPart {
  /** The path of the descriptor. */
  readonly image: string;
  /** Which of its extents the file is, from 1, and how many there are. */
  readonly number: number;
  readonly count: number;
}

/** How the parts of a disk are called: its name, and what they are. */
const PART_NAME = /^(?<stem>.+)-(?<part>flat|delta|sesparse|ctk|rdmp?|[sf]\d{3,})\.vmdk$/i;

/** The disk of which the file at `path` is an extent; undefined where no descriptor beside it says so. */
export function findDisk(path: string): DiskPart | undefined {
  const names = namesOf(path);
  return findBeside(path, ({ descriptor, isEmbedded, path: image }) => {
    const extents = descriptor.extents.filter(({ fileName }) => fileName !== '');
    const index = extents.findIndex(({ fileName }, at) => {
      // The name in an embedded descriptor is what the file was called when it was made.
      if (isEmbedded && at === 0) return false;
      return isOneOf(names, decodeFileNames(fileName, descriptor));
    });
    return index < 0 ? undefined : { image, number: index + 1, count: extents.length };
  });
}

/** Says of a file that is an extent what it is, and what to open. */
export function describePart({ count, image, number }: DiskPart): string {
  const what = count === 1 ? 'holds the data' : `is part ${number} of ${count}`;
  return `${what} of the disk ${image}; use that file instead`;
}

/** Says of a change tracking file what it is, and what to open. */
export function describeTracking(path: string): string {
  const names = namesOf(path);
  const tracked = findBeside(path, ({ descriptor, path: image }) => {
    const { changeTrackPath } = descriptor;
    if (changeTrackPath === undefined) return undefined;
    return isOneOf(names, decodeFileNames(changeTrackPath, descriptor)) ? image : undefined;
  });
  const disk = tracked ?? stemBeside(path).find((each) => existsSync(each)) ?? 'the disk';
  return `is a change tracking file, which notes what of a disk has changed, and holds no disk; use ${disk} instead`;
}

/**
 * Says of a file that is one part of a disk, by its header or by its name, what to do where no
 * descriptor beside it names it; undefined where neither says so.
 */
export function describeStray(path: string, extent: BareExtent | undefined): string | undefined {
  const [image] = stemBeside(path);
  const what = extent?.kind ?? plainPartOf(path);
  if (what === undefined) return undefined;
  if (image !== undefined && existsSync(image)) {
    return `is ${what}; open the disk by its descriptor file, ${image}`;
  }
  const capacity = extent?.capacity ?? 0;
  const line = capacity === 0 ? undefined : extentLine(path, capacity);
  // What a snapshot does not hold would read as zeros.
  const rescue =
    line === undefined
      ? ''
      : `, or unless it is a snapshot write a new descriptor file with the line ${line}`;
  if (image !== undefined) {
    return `is ${what}; put its descriptor file, ${image}, beside it and open that${orAlone(what)}${rescue}`;
  }
  if (line === undefined) return undefined;
  return `is ${what}, and no descriptor beside it names it; open the disk by its descriptor file${rescue}`;
}

/** Whether a file is called as one of several parts of a plain disk. */
export function isNumberedPart(path: string): boolean {
  return /^[sf]\d/i.test(PART_NAME.exec(basename(path))?.groups?.['part'] ?? '');
}

/** Says of an image whose descriptor names no extent where its data may be. */
export function describeLostExtents(path: string): string {
  const { head } = sampleAt(path);
  const isSparse = head.length >= SECTOR_BYTES && head.readUInt32LE() === SPARSE_MAGICNUMBER;
  if (isSparse) {
    const { capacity } = decodeSparseHeader(head.subarray(0, SECTOR_BYTES), path);
    return `its own descriptor names no extent; a separate descriptor file with its other lines and the line ${extentLine(path, capacity)} opens it`;
  }
  const stem = path.replace(/\.vmdk$/i, '');
  const parts = ['flat', 'f001', 's001', 'delta', 'sesparse'].map((part) => `${stem}-${part}.vmdk`);
  const data = parts.find((each) => existsSync(each));
  const lost = 'its descriptor has lost the lines that name its extents';
  if (data === undefined) return `${lost}; restore it from a backup`;
  if (!data.endsWith('-flat.vmdk')) {
    return `${lost}; its data begins in ${data}: add a line for each extent`;
  }
  const sectors = Math.floor(statSync(data).size / SECTOR_BYTES);
  return `${lost}; its data is in ${data}: add the line RW ${sectors} FLAT ${quoted(data)} 0`;
}

/** All of a disk's data may be in one file. */
function orAlone(what: string): string {
  return what === FLAT_PART ? ', or open it by itself with --flat' : '';
}

const FLAT_PART = 'by its name the data of a disk';

/** What a file without a header of ours is by its name. */
function plainPartOf(path: string): string | undefined {
  const part = PART_NAME.exec(basename(path))?.groups?.['part']?.toLowerCase();
  if (part === undefined) return undefined;
  if (isNumberedPart(path)) return 'by its name one part of a split disk';
  return part === 'flat' ? FLAT_PART : 'by its name an extent of a disk';
}

/** Where the descriptor would be that the name of a part leads to. */
function stemBeside(path: string): string[] {
  const stem = PART_NAME.exec(basename(path))?.groups?.['stem'];
  return stem === undefined ? [] : [join(dirname(path), `${stem}.vmdk`)];
}

/** What `find` finds of the images beside `path`: of the one called like it if there are several. */
function findBeside<T>(path: string, find: (image: ImageBeside) => T | undefined): T | undefined {
  const { dev, ino } = statSync(path);
  const wanted = stemBeside(path).map((each) => basename(each));
  let first: T | undefined;
  for (const image of imagesBeside(path, [`${dev}:${ino}`])) {
    const found = find(image);
    if (found !== undefined && wanted.includes(basename(image.path))) return found;
    first ??= found;
  }
  return first;
}

function namesOf(path: string): string[] {
  return [basename(path), basename(realpathSync(path))];
}

/** Whether one of the readings of a name in a descriptor is one of `names`. */
function isOneOf(names: readonly string[], readings: readonly string[]): boolean {
  return readings.some((reading) => names.includes(lastPart(reading)));
}

/** The last part of a name, which may be written as Windows does. */
function lastPart(name: string): string {
  return basename(name.replaceAll('\\', '/'));
}

function extentLine(path: string, capacity: number): string {
  return `RW ${capacity / SECTOR_BYTES} SPARSE ${quoted(path)}`;
}

function quoted(path: string): string {
  return `"${basename(path)}"`;
}
