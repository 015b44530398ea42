/** The kinds of image that can be made, by the createType of their descriptor. */
import { COWD_SECTORS_MAX } from './cowd-header.js';
import {
  CAPACITY_SECTORS_MAX,
  CREATE_SECTORS_MAX,
  SECTOR_BYTES,
  STREAM_BYTES_MAX,
} from './limits.js';
import { SESPARSE_BYTES_MAX } from './se-sparse-header.js';

/** Names of the kinds, as VMware writes them. */
export const SUBFORMATS = [
  'monolithicSparse',
  'monolithicFlat',
  'twoGbMaxExtentSparse',
  'twoGbMaxExtentFlat',
  'vmfs',
  'vmfsThin',
  'vmfsPreallocated',
  'vmfsEagerZeroedThick',
  'vmfsSparse',
  'seSparse',
] as const;

export type Subformat = (typeof SUBFORMATS)[number];

/** The kind that is written once, from the front to the end, and never changed. */
export const STREAM_OPTIMIZED = 'streamOptimized';

/** Any kind of image that can be written. */
export type ImageKind = Subformat | typeof STREAM_OPTIMIZED;

/** What is made where nothing is asked for: a disk that is one file. */
export const SUBFORMAT_DEFAULT: Subformat = 'monolithicSparse';

/** How an image of one kind is made. */
export interface SubformatFacts {
  /** Access of its extent lines: what cannot be changed is marked so. */
  readonly access: 'RW' | 'RDONLY';
  /** Type of its extent lines. */
  readonly extentType: 'SPARSE' | 'FLAT' | 'VMFS' | 'VMFSSPARSE' | 'SESPARSE';
  /** What stands in the names of its extents, NAME-delta.vmdk; empty where NAME.vmdk is the extent. */
  readonly suffix: string;
  /** Whether the extents are numbered: NAME-s001.vmdk, NAME-s002.vmdk. */
  readonly isSplit: boolean;
  /** Largest extent, in bytes. */
  readonly extentBytesMax: number;
  /** Whether it can be the child of another image: its extents know what was not written. */
  readonly canBeChild: boolean;
  /** Whether its extents take all their space on the host from the start. */
  readonly isPreallocated: boolean;
  /** Lines of its own in the disk data base. */
  readonly dataBase: readonly string[];
}

/** Extents of split disks, in sectors: VMware's numbers, just below 2 GiB. */
const SPLIT_SPARSE_SECTORS = 4192256;
const SPLIT_FLAT_SECTORS = 4193792;

const FLAT: SubformatFacts = {
  access: 'RW',
  extentType: 'FLAT',
  suffix: 'flat',
  isSplit: false,
  extentBytesMax: CAPACITY_SECTORS_MAX * SECTOR_BYTES,
  canBeChild: false,
  isPreallocated: false,
  dataBase: [],
};

const SPARSE: SubformatFacts = {
  ...FLAT,
  extentType: 'SPARSE',
  suffix: '',
  extentBytesMax: CREATE_SECTORS_MAX * SECTOR_BYTES,
  canBeChild: true,
};

const VMFS: SubformatFacts = { ...FLAT, extentType: 'VMFS' };

const FACTS: Readonly<Record<ImageKind, SubformatFacts>> = {
  monolithicSparse: SPARSE,
  monolithicFlat: FLAT,
  twoGbMaxExtentSparse: {
    ...SPARSE,
    suffix: 's',
    isSplit: true,
    extentBytesMax: SPLIT_SPARSE_SECTORS * SECTOR_BYTES,
  },
  twoGbMaxExtentFlat: {
    ...FLAT,
    suffix: 'f',
    isSplit: true,
    extentBytesMax: SPLIT_FLAT_SECTORS * SECTOR_BYTES,
  },
  vmfs: VMFS,
  vmfsThin: { ...VMFS, dataBase: ['ddb.thinProvisioned = "1"'] },
  vmfsPreallocated: { ...VMFS, isPreallocated: true },
  vmfsEagerZeroedThick: { ...VMFS, isPreallocated: true },
  vmfsSparse: {
    ...SPARSE,
    extentType: 'VMFSSPARSE',
    suffix: 'delta',
    extentBytesMax: COWD_SECTORS_MAX * SECTOR_BYTES,
  },
  seSparse: {
    ...SPARSE,
    extentType: 'SESPARSE',
    suffix: 'sesparse',
    extentBytesMax: SESPARSE_BYTES_MAX,
    dataBase: ['ddb.grain = "8"'],
  },
  streamOptimized: {
    ...SPARSE,
    access: 'RDONLY',
    extentBytesMax: STREAM_BYTES_MAX,
    canBeChild: false,
  },
};

/** How an image of `subformat` is made. */
export function factsOfSubformat(subformat: ImageKind): SubformatFacts {
  return FACTS[subformat];
}

/** The kind that `name` means in any case, `2GbMaxExtent...` included; undefined where there is none. */
export function findSubformat(name: string): Subformat | undefined {
  const wanted = name.toLowerCase().replace(/^2gb/, 'twogb');
  return SUBFORMATS.find((subformat) => subformat.toLowerCase() === wanted);
}

/** No line of a split disk is shorter, such as `RW 4192256 FLAT "-f001.vmdk" 0`. */
const EXTENT_LINE_BYTES_MIN = 24;

/** One extent of a new image; `size` in bytes. */
export interface NewExtent {
  readonly size: number;
  /** Without its folder. */
  readonly fileName: string;
}

/**
 * The extents of a disk of `size` bytes whose descriptor is called `fileName`, in their order.
 *
 * @returns undefined where there would be more of them than `descriptorBytes` can name, or where
 *   one would be larger than its kind allows
 */
export function planExtents(
  subformat: ImageKind,
  size: number,
  fileName: string,
  descriptorBytes: number,
): readonly NewExtent[] | undefined {
  const { suffix, isSplit, extentBytesMax } = FACTS[subformat];
  const count = Math.ceil(size / extentBytesMax);
  if (count > (isSplit ? descriptorBytes / EXTENT_LINE_BYTES_MIN : 1)) return undefined;
  const stem = fileName.replace(/\.vmdk$/i, '');
  return Array.from({ length: count }, (_, index) => ({
    size: Math.min(extentBytesMax, size - index * extentBytesMax),
    fileName: nameOf(fileName, stem, suffix, isSplit ? index + 1 : 0),
  }));
}

function nameOf(fileName: string, stem: string, suffix: string, number: number): string {
  if (suffix === '') return fileName;
  const digits = number === 0 ? '' : String(number).padStart(3, '0');
  return `${stem}-${suffix}${digits}.vmdk`;
}
