/**
 * Whether the first sector of a disk begins a file system. Such a sector can end with the signature of
 * a DOS table, and holds code or text where a table has its entries. The rules are those of libblkid
 * (superblocks/vfat.c, ntfs.c, exfat.c), because a table that Linux shows has to be shown.
 */
import { bytes, struct, u16, u32, u64, u8, viewOf } from '../binary/struct.js';
import type { ReadDisk } from './partition.js';

/** The parameter block that FAT and NTFS have in common, up to where FAT32 and NTFS differ. */
const Bpb = struct('bios_parameter_block', 64, {
  jump: bytes(3),
  system: bytes(8),
  sectorBytes: u16,
  clusterSectors: u8,
  reserved: u16,
  fats: u8,
  entries: u16,
  sectors: u16,
  media: u8,
  fatSectors: u16,
  unused: bytes(8),
  sectorsTotal: u32,
  fat32Sectors: u32,
  fat32Unused: bytes(8),
  mftCluster: u64,
  unusedToo: bytes(8),
});

const FAT_MAGIC = 0x36;
const NTFS_RECORD = 64;
const NTFS_VOLUME_RECORD = 3;
const ROOT_ENTRY_BYTES = 32;
const FAT12_CLUSTERS_MAX = 4084;
const FAT16_CLUSTERS_MAX = 65524;
const FAT32_CLUSTERS_MAX = 0x0fff_fff6;

/** Whether `sector`, the first of a disk of `size` bytes, begins FAT, exFAT or NTFS. */
export function beginsFileSystem(sector: Uint8Array, read: ReadDisk, size: number): boolean {
  return isFat(sector) || isExFat(sector) || isNtfs(sector, read, size);
}

function textAt(sector: Uint8Array, offset: number, length: number): string {
  return Buffer.from(sector.subarray(offset, offset + length)).toString('latin1');
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

function isFat(sector: Uint8Array): boolean {
  const name = textAt(sector, FAT_MAGIC, 8);
  if (name.startsWith('JFS ') || name.startsWith('HPFS')) return false;
  const view = viewOf(sector);
  const media = Bpb.media.get(view, 0);
  if (Bpb.fats.get(view, 0) === 0 || Bpb.reserved.get(view, 0) === 0) return false;
  if (media < 0xf8 && media !== 0xf0) return false;
  const clusterSectors = Bpb.clusterSectors.get(view, 0);
  const sectorBytes = Bpb.sectorBytes.get(view, 0);
  if (!isPowerOfTwo(clusterSectors) || !isPowerOfTwo(sectorBytes)) return false;
  if (sectorBytes < 512 || sectorBytes > 4096) return false;
  return areClustersPossible(view, clusterSectors, sectorBytes);
}

function areClustersPossible(view: DataView, clusterSectors: number, sectorBytes: number): boolean {
  const sectors = Bpb.sectors.get(view, 0) || Bpb.sectorsTotal.get(view, 0);
  const fatSectors = Bpb.fatSectors.get(view, 0);
  const fat32Sectors = Bpb.fat32Sectors.get(view, 0);
  const all = (fatSectors || fat32Sectors) * Bpb.fats.get(view, 0);
  const root = Math.ceil((Bpb.entries.get(view, 0) * ROOT_ENTRY_BYTES) / sectorBytes);
  const data = sectors - Bpb.reserved.get(view, 0) - all - root;
  if (data < 0) return false;
  const clusters = Math.floor(data / clusterSectors);
  if (fatSectors === 0 && fat32Sectors > 0) return clusters <= FAT32_CLUSTERS_MAX;
  return clusters <= (clusters > FAT12_CLUSTERS_MAX ? FAT16_CLUSTERS_MAX : FAT12_CLUSTERS_MAX);
}

function isExFat(sector: Uint8Array): boolean {
  return textAt(sector, 3, 8) === 'EXFAT   ' && sector.subarray(11, 64).every((byte) => byte === 0);
}

/** Where the first and the fourth file record should be, that of the volume, they have to be. */
function isNtfs(sector: Uint8Array, read: ReadDisk, size: number): boolean {
  if (textAt(sector, 3, 8) !== 'NTFS    ') return false;
  const view = viewOf(sector);
  const sectorBytes = Bpb.sectorBytes.get(view, 0);
  if (!isPowerOfTwo(sectorBytes) || sectorBytes < 256 || sectorBytes > 4096) return false;
  const isFatFree =
    Bpb.reserved.get(view, 0) === 0 &&
    Bpb.fats.get(view, 0) === 0 &&
    Bpb.entries.get(view, 0) === 0;
  const clusterSectors = Bpb.clusterSectors.get(view, 0);
  // Above 128 it is the negative of a power of two.
  const cluster =
    (clusterSectors > 128 ? 2 ** (256 - clusterSectors) : clusterSectors) * sectorBytes;
  const records = view.getInt8(NTFS_RECORD);
  const record = records < 0 ? 2 ** -records : records * cluster;
  const start = Bpb.mftCluster.get(view, 0) * cluster;
  const volume = start + NTFS_VOLUME_RECORD * record;
  if (!isFatFree || !Number.isSafeInteger(volume) || volume + 4 > size) return false;
  return [start, volume].every((at) => textAt(read(at, 4), 0, 4) === 'FILE');
}
