/** Limits of the format and of this implementation, each with its reason. */

/** Every offset and size on disk is counted in sectors of 512 bytes, also on 4Kn disks. */
export const SECTOR_BYTES = 512;

/** Smallest grain: one sector (COWD deltas use it). Hosted images in the wild have 8 or more. */
export const GRAIN_SECTORS_MIN = 1;

/** Largest grain accepted: 1 GiB, as QEMU does. VMware writes 128 sectors. */
export const GRAIN_SECTORS_MAX = 2 ** 21;

/** Largest compressed grain: 8 MiB. Each thread that reads has memory for three of them. */
export const STREAM_GRAIN_SECTORS_MAX = 2 ** 14;

/** Fewest entries a grain table may have; with fewer than 128 it does not fill its sector. */
export const TABLE_ENTRIES_MIN = 1;

/** Most entries a hosted grain table may have. VMware knows only 512, and QEMU refuses more. */
export const TABLE_ENTRIES_MAX = 512;

/** Grain entries are 32-bit sector numbers, so a sparse file ends below 2 TiB. */
export const SPARSE_FILE_BYTES_MAX = 2 ** 32 * SECTOR_BYTES;

/** Largest disk: byte offsets must be exact JavaScript numbers. */
export const CAPACITY_SECTORS_MAX = Math.floor(Number.MAX_SAFE_INTEGER / SECTOR_BYTES);

/** Largest hosted sparse extent that we create, the largest that VMware opens (2 TiB less a sector). */
export const CREATE_SECTORS_MAX = 2 ** 32 - 1;

/** Longest descriptor read; QEMU stops there too, and a 62 TiB disk split at 2 GiB needs less. */
export const DESCRIPTOR_BYTES_MAX = 1024 * 1024;

/** Longest chain of parents. VMware documents 32 links; images in the wild have had more. */
export const CHAIN_LENGTH_MAX = 256;

/**
 * Most grain tables of one image, parents included: enough for 128 TiB in VMware's grains and tables, 16 MiB of
 * directory. What is kept of each table while opening is bounded by it (QEMU allows 32 Mi).
 */
export const DIRECTORY_ENTRIES_MAX = 4 * 1024 * 1024;

/**
 * Largest streamOptimized disk that we make: what the tables of one image can describe in VMware's
 * grains of 64 KiB and tables of 512 entries.
 */
export const STREAM_BYTES_MAX = DIRECTORY_ENTRIES_MAX * 512 * 64 * 1024;
