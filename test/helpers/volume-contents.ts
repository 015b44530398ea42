/**
 * Volumes with just so much in them that libblkid names what they are. Those with a label that lies
 * where their headers lead take the place for it: it may be far from both ends.
 */

const KIB = 1024;
const SECTOR = 512;

function volume(size: number): Buffer {
  return Buffer.alloc(size);
}

/** ext2 without features, blocks of 1 KiB. */
export function ext2(size: number, label: string): Buffer {
  const made = volume(size);
  made.writeUInt32LE(size / KIB, 1024 + 4);
  made.writeUInt32LE(1, 1024 + 20);
  made.writeUInt16LE(0xef53, 1024 + 56);
  made.writeUInt32LE(1, 1024 + 76);
  made.write(label, 1024 + 120, 'utf8');
  return made;
}

/** Swap space of Linux, pages of 4 KiB. */
export function swap(size: number): Buffer {
  const made = volume(size);
  made.writeUInt32LE(1, 1024);
  made.writeUInt32LE(size / 4096 - 1, 1028);
  made.write('SWAPSPACE2', 4096 - 10, 'latin1');
  return made;
}

/** A LUKS 1 header. */
export function luks(size: number): Buffer {
  const made = volume(size);
  made.write('LUKS\xba\xbe\0\x01', 0, 'latin1');
  made.write('11111111-2222-3333-4444-555555555555', 168, 'latin1');
  return made;
}

/** A volume of BitLocker as Windows 7 and later write it. */
export function bitLocker(size: number): Buffer {
  const made = volume(size);
  made.write('\xeb\x58\x90-FVE-FS-', 0, 'latin1');
  made.writeUInt16LE(512, 11);
  made.write('\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01', 160, 'latin1');
  made.writeBigUInt64LE(BigInt(size / 2), 176);
  made.write('-FVE-FS-\0\0\x02\0', size / 2, 'latin1');
  return made;
}

/** A member of a RAID 1 with metadata of version 1.0, 8 KiB before its end, over what is in it. */
export function raidMember(content: Buffer): Buffer {
  const made = Buffer.from(content);
  const at = made.length - 8 * KIB;
  made.writeUInt32LE(0xa92b4efc, at);
  made.writeUInt32LE(1, at + 4);
  made.fill(0x5a, at + 16, at + 32);
  made.write('host:0', at + 32, 'latin1');
  made.writeInt32LE(1, at + 72);
  made.writeBigUInt64LE(BigInt(at / SECTOR), at + 80);
  made.writeUInt32LE(2, at + 92);
  made.writeBigUInt64LE(BigInt(at / SECTOR), at + 128 + 8);
  made.writeBigUInt64LE(BigInt(at / SECTOR), at + 144);
  made.writeUInt32LE(0, at + 220);
  let sum = 0;
  for (let word = 0; word < 256; word += 4) sum += made.readUInt32LE(at + word);
  made.writeUInt32LE(((sum % 2 ** 32) + Math.floor(sum / 2 ** 32)) >>> 0, at + 216);
  return made;
}

/** NTFS with clusters of 4 KiB, the master file table at byte `table`. */
export function ntfs(size: number, label: string, table: number): Buffer {
  const made = volume(size);
  const [cluster, record] = [4096, 1024];
  made.write('\xeb\x52\x90NTFS    ', 0, 'latin1');
  made.writeUInt16LE(SECTOR, 11);
  made.writeUInt8(cluster / SECTOR, 13);
  made.writeUInt8(0xf8, 21);
  made.writeBigUInt64LE(BigInt(size / SECTOR - 1), 40);
  made.writeBigUInt64LE(BigInt(table / cluster), 48);
  made.writeBigUInt64LE(2n, 56);
  made.writeInt8(-10, 64);
  made.writeInt8(1, 68);
  made.writeBigUInt64LE(0x1234567890abcdefn, 72);
  for (let index = 0; index < 4; index++) made.write('FILE', table + index * record, 'latin1');
  // The name is an attribute of record 3.
  const at = table + 3 * record;
  const name = Buffer.from(label, 'utf16le');
  made.writeUInt16LE(56, at + 20);
  made.writeUInt32LE(56 + 24 + name.length + 8, at + 24);
  made.writeUInt32LE(record, at + 28);
  made.writeUInt32LE(0x60, at + 56);
  made.writeUInt32LE(24 + name.length, at + 60);
  made.writeUInt32LE(name.length, at + 56 + 16);
  made.writeUInt16LE(24, at + 56 + 20);
  name.copy(made, at + 56 + 24);
  made.writeUInt32LE(0xffffffff, at + 56 + 24 + name.length);
  return made;
}

/** FAT32 with clusters of 512 bytes and `reserved` sectors before its tables. */
export function fat32(size: number, label: string, reserved: number): Buffer {
  const made = volume(size);
  const table = 600;
  made.write('\xeb\x58\x90mkfs.fat', 0, 'latin1');
  made.writeUInt16LE(SECTOR, 11);
  made.writeUInt8(1, 13);
  made.writeUInt16LE(reserved, 14);
  made.writeUInt8(2, 16);
  made.writeUInt8(0xf8, 21);
  made.writeUInt32LE(size / SECTOR, 32);
  made.writeUInt32LE(table, 36);
  made.writeUInt32LE(2, 44);
  made.writeUInt16LE(1, 48);
  made.writeUInt8(0x29, 66);
  made.writeUInt32LE(0x12345678, 67);
  made.write('NO NAME    FAT32   ', 71, 'latin1');
  made.writeUInt16LE(0xaa55, 510);
  made.write('RRaA', SECTOR, 'latin1');
  made.write('rrAa', SECTOR + 484, 'latin1');
  made.writeUInt32LE(0x0fffffff, reserved * SECTOR + 8);
  const root = (reserved + 2 * table) * SECTOR;
  made.write(label.padEnd(11), root, 'latin1');
  made.writeUInt8(8, root + 11);
  return made;
}

/** exFAT with clusters of 4 KiB, its root folder at byte `root`. */
export function exfat(size: number, label: string, root: number): Buffer {
  const made = volume(size);
  const [table, heap] = [64 * KIB, 256 * KIB];
  made.write('\xeb\x76\x90EXFAT   ', 0, 'latin1');
  made.writeBigUInt64LE(BigInt(size / SECTOR), 72);
  made.writeUInt32LE(table / SECTOR, 80);
  made.writeUInt32LE((heap - table) / SECTOR, 84);
  made.writeUInt32LE(heap / SECTOR, 88);
  made.writeUInt32LE((size - heap) / 4096, 92);
  const cluster = (root - heap) / 4096 + 2;
  made.writeUInt32LE(cluster, 96);
  made.writeUInt32LE(0x9abcdef0, 100);
  made.writeUInt16LE(0x0100, 104);
  made.writeUInt8(9, 108);
  made.writeUInt8(3, 109);
  made.writeUInt8(1, 110);
  for (let sector = 0; sector < 9; sector++) {
    made.writeUInt16LE(0xaa55, sector * SECTOR + 510);
  }
  let sum = 0;
  for (let at = 0; at < 11 * SECTOR; at++) {
    if ([106, 107, 112].includes(at)) continue;
    sum = (((sum & 1) << 31) | (sum >>> 1)) + (made[at] ?? 0);
  }
  for (let at = 11 * SECTOR; at < 12 * SECTOR; at += 4) made.writeUInt32LE(sum >>> 0, at);
  made.writeUInt32LE(0xffffffff, table + cluster * 4);
  made.writeUInt8(0x83, root);
  made.writeUInt8(label.length, root + 1);
  made.write(label, root + 2, 'utf16le');
  return made;
}

/** HFS+ with blocks of 4 KiB and its catalog at byte `catalog`, whose first leaf is node 3. */
export function hfsPlus(size: number, label: string, catalog: number): Buffer {
  const made = volume(size);
  const block = 4096;
  made.write('H+\0\x04', 1024, 'latin1');
  made.writeUInt32BE(block, 1024 + 40);
  made.writeUInt32BE(size / block, 1024 + 44);
  const fork = 1024 + 272;
  // The first extent has the nodes 0 and 1, the second those behind it, a block further.
  made.writeBigUInt64BE(BigInt(8 * block), fork);
  made.writeUInt32BE(8, fork + 12);
  const extents = [catalog / block, 2, catalog / block + 3, 6];
  for (const [index, value] of extents.entries()) made.writeUInt32BE(value, fork + 16 + index * 4);
  made.writeUInt8(1, catalog + 8);
  made.writeUInt32BE(1, catalog + 14 + 6);
  made.writeUInt32BE(3, catalog + 14 + 10);
  made.writeUInt16BE(block, catalog + 14 + 18);
  const leaf = catalog + 4 * block;
  made.writeInt8(-1, leaf + 8);
  made.writeUInt16BE(1, leaf + 10);
  made.writeUInt16BE(6 + label.length * 2, leaf + 14);
  made.writeUInt32BE(1, leaf + 16);
  made.writeUInt16BE(label.length, leaf + 20);
  Buffer.from(label, 'utf16le')
    .swap16()
    .copy(made, leaf + 22);
  return made;
}
