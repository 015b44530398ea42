/**
 * Names of the usual partition types. The numbers of DOS tables are those of fdisk(8) and of Andries
 * Brouwer's list; the GUIDs are those of the UEFI specification, the Discoverable Partitions
 * Specification and the makers of the systems.
 */

/** The types of entries of DOS tables that hold further tables. */
export const EXTENDED_TYPES: readonly number[] = [0x05, 0x0f, 0x85];

/** The type of the entry by which a DOS table says that there is a GPT. */
export const PROTECTIVE_TYPE = 0xee;

const DOS_NAMES: Readonly<Record<number, string>> = {
  0x01: 'FAT12',
  0x04: 'FAT16',
  0x05: 'Extended',
  0x06: 'FAT16',
  0x07: 'HPFS/NTFS/exFAT',
  0x0b: 'FAT32',
  0x0c: 'FAT32 (LBA)',
  0x0e: 'FAT16 (LBA)',
  0x0f: 'Extended (LBA)',
  0x11: 'Hidden FAT12',
  0x12: 'Diagnostics',
  0x14: 'Hidden FAT16',
  0x16: 'Hidden FAT16',
  0x17: 'Hidden NTFS',
  0x1b: 'Hidden FAT32',
  0x1c: 'Hidden FAT32 (LBA)',
  0x27: 'Windows recovery',
  0x42: 'Windows dynamic disk',
  0x82: 'Linux swap',
  0x83: 'Linux',
  0x85: 'Linux extended',
  0x8e: 'Linux LVM',
  0xa5: 'FreeBSD',
  0xa6: 'OpenBSD',
  0xa8: 'Apple UFS',
  0xa9: 'NetBSD',
  0xaf: 'Apple HFS',
  0xbf: 'Solaris',
  0xeb: 'BeOS',
  0xee: 'GPT',
  0xef: 'EFI System',
  0xfb: 'VMware VMFS',
  0xfc: 'VMware diagnostics',
  0xfd: 'Linux RAID',
};

const GPT_NAMES: Readonly<Record<string, string>> = {
  '0657FD6D-A4AB-43C4-84E5-0933C84B4F4F': 'Linux swap',
  '0FC63DAF-8483-4772-8E79-3D69D8477DE4': 'Linux filesystem',
  '21686148-6449-6E6F-744E-656564454649': 'BIOS boot',
  '3B8F8425-20E0-4F3B-907F-1A25A76F98E8': 'Linux server data',
  '44479540-F297-41B2-9AF7-D131D5F0458A': 'Linux root (x86)',
  '48465300-0000-11AA-AA11-00306543ECAC': 'Apple HFS+',
  '4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709': 'Linux root (x86-64)',
  '516E7CB4-6ECF-11D6-8FF8-00022D09712B': 'FreeBSD',
  '516E7CB5-6ECF-11D6-8FF8-00022D09712B': 'FreeBSD swap',
  '516E7CB6-6ECF-11D6-8FF8-00022D09712B': 'FreeBSD UFS',
  '516E7CBA-6ECF-11D6-8FF8-00022D09712B': 'FreeBSD ZFS',
  '5808C8AA-7E8F-42E0-85D2-E1E90434CFB3': 'Windows dynamic disk metadata',
  '7C3457EF-0000-11AA-AA11-00306543ECAC': 'Apple APFS',
  '7FFEC5C9-2D00-49B7-8941-3EA10A5586B7': 'Linux dm-crypt',
  '83BD6B9D-7F41-11DC-BE0B-001560B84F0F': 'FreeBSD boot',
  '9198EFFC-31C0-11DB-8F78-000C2911D1B8': 'VMware reserved',
  '933AC7E1-2EB4-4F13-B844-0E14E2AEF915': 'Linux home',
  '9D275380-40AD-11DB-BF97-000C2911D1B8': 'VMware diagnostics',
  'A19D880F-05FC-4D3B-A006-743F0F84911E': 'Linux RAID',
  'AA31E02A-400F-11DB-9590-000C2911D1B8': 'VMware VMFS',
  'AF9B60A0-1431-4F62-BC68-3311714A69AD': 'Windows dynamic disk data',
  'B921B045-1DF0-41C3-AF44-4C6F280D3FAE': 'Linux root (ARM-64)',
  'BC13C2FF-59E6-4262-A352-B275FD6F7172': 'Linux extended boot',
  'C12A7328-F81F-11D2-BA4B-00A0C93EC93B': 'EFI System',
  'CA7D7CCB-63ED-4C53-861C-1742536059CC': 'Linux LUKS',
  'DE94BBA4-06D1-4D40-A16A-BFD50179D6AC': 'Windows recovery',
  'E3C9E316-0B5C-4DB8-817D-F92DF00215AE': 'Microsoft reserved',
  'E6D6D379-F507-44C2-A23C-238F2A3DF928': 'Linux LVM',
  'EBD0A0A2-B9E5-4433-87C0-68B6B72699C7': 'Microsoft basic data',
};

/** A name for the type byte of an entry of a DOS table. */
export function dosTypeName(type: number): string {
  return DOS_NAMES[type] ?? 'unknown';
}

/** A name for a type GUID, given in capitals. */
export function gptTypeName(guid: string): string {
  return GPT_NAMES[guid] ?? 'unknown';
}

/** Numbers that BSD labels give what is in a partition (FS_ of the three systems' disklabel.h). */
const BSD_NAMES: Readonly<Record<number, string>> = {
  1: 'BSD swap',
  7: 'BSD UFS',
  8: 'MS-DOS',
  9: 'BSD LFS',
  10: 'BSD, other',
  12: 'ISO 9660',
  17: 'Linux ext2',
  19: 'BSD RAID',
  27: 'FreeBSD ZFS',
};

/** A name for what a BSD label says is in a partition. */
export function bsdTypeName(type: number): string {
  return BSD_NAMES[type] ?? 'BSD';
}

/** Tags of Solaris' slices (V_ of its vtoc.h). */
const SOLARIS_NAMES: Readonly<Record<number, string>> = {
  1: 'Solaris boot',
  2: 'Solaris root',
  3: 'Solaris swap',
  4: 'Solaris usr',
  5: 'Solaris, whole slice',
  6: 'Solaris stand',
  7: 'Solaris var',
  8: 'Solaris home',
  9: 'Solaris alternate sectors',
};

/** A name for the tag of a slice of Solaris. */
export function solarisTypeName(tag: number): string {
  return SOLARIS_NAMES[tag] ?? 'Solaris';
}

/** Types of entries of DOS tables that may hold a BSD label. */
export const BSD_TYPES: readonly number[] = [0xa5, 0xa6, 0xa9];

/** That of FreeBSD. */
export const FREEBSD_TYPE = 0xa5;

/** Types that may hold a VTOC of Solaris; the older one is also that of Linux' swap. */
export const SOLARIS_TYPES: readonly number[] = [0x82, 0xbf];
