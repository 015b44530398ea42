/** Bytes by which files of other programs are known. */
import type { FileSample } from './file-sample.js';
import type { Finding } from './finding.js';

/** Where bytes stand, counted from the beginning of a file or back from its end, and what it then is. */
interface Signature extends Finding {
  readonly at: number;
  readonly bytes: string;
}

const QEMU = 'make a VMDK of it with qemu-img convert -O vmdk';
/** QEMU takes a VHD of fixed size for a plain disk, and knows a DMG by its name, unless told. */
const QEMU_VHD = 'make a VMDK of it with qemu-img convert -f vpc -O vmdk';
const QEMU_DMG = 'make a VMDK of it with qemu-img convert -f dmg -O vmdk';
const NO_IMAGE = 'give the disk image instead';

function packed(bytes: string, what: string, program: string): Signature {
  return { at: 0, bytes, what, advice: `unpack it with ${program} first` };
}

function image(at: number, bytes: string, what: string, advice = QEMU): Signature {
  return { at, bytes, what, advice };
}

function other(bytes: string, what: string, advice = NO_IMAGE): Signature {
  return { at: 0, bytes, what, advice };
}

function plain(at: number, bytes: string, what: string): Signature {
  return { at, bytes, what, advice: 'mount it with mount -o loop', isPlainDisk: true };
}

const PACKED: readonly Signature[] = [
  packed('\x1f\x8b\x08', 'a gzip file', 'gunzip'),
  packed('\xfd7zXZ\0', 'an xz file', 'unxz'),
  packed('\x28\xb5\x2f\xfd', 'a zstd file', 'unzstd'),
  packed('BZh', 'a bzip2 file', 'bunzip2'),
  packed('\x04\x22\x4d\x18', 'an lz4 file', 'unlz4'),
  packed('LZIP', 'an lzip file', 'lzip -d'),
  packed('\x89LZO\0\r\n\x1a\n', 'an lzop file', 'lzop -d'),
  packed('\x1f\x9d\x90', 'a compress file (.Z)', 'gunzip'),
  packed('PK\x03\x04', 'a zip archive', 'unzip'),
  packed('PK\x05\x06', 'an empty zip archive', 'unzip'),
  packed('PK\x07\x08', 'a part of a zip archive', 'unzip'),
  packed('7z\xbc\xaf\x27\x1c', 'a 7z archive', '7z x'),
  packed('Rar!\x1a\x07', 'a RAR archive', 'unrar x'),
  packed('MSCF\0\0\0\0', 'a cabinet archive', 'cabextract'),
  packed('070701', 'a cpio archive', 'cpio -i'),
  packed('!<arch>\n', 'an ar archive', 'ar x'),
];

const IMAGES: readonly Signature[] = [
  image(0, 'QFI\xfb\0\0\0\x01', 'a QCOW image (QEMU)'),
  image(0, 'QFI\xfb', 'a QCOW2 image (QEMU)'),
  image(0, 'QED\0', 'a QED image (QEMU)'),
  image(0, 'vhdxfile', 'a VHDX image (Hyper-V)'),
  image(0, 'conectix', 'a VHD image (Virtual PC)', QEMU_VHD),
  image(-512, 'conectix', 'a VHD image (Virtual PC)', QEMU_VHD),
  image(-511, 'conectix', 'a VHD image (Virtual PC)', QEMU_VHD),
  image(64, '\x7f\x10\xda\xbe', 'a VDI image (VirtualBox)'),
  image(0, '<<< ', 'a VDI image (VirtualBox)'),
  image(0, 'WithoutFreeSpace', 'a Parallels image'),
  image(0, 'WithouFreSpacExt', 'a Parallels image'),
  image(0, 'Bochs Virtual HD Image', 'a Bochs image'),
  image(-512, 'koly\0\0\0\x04', 'an Apple disk image (DMG)', QEMU_DMG),
  image(0, 'encrcdsa', 'an encrypted Apple disk image (DMG)', 'decrypt it on a Mac first'),
  image(0, 'EVF\t\r\n\xff\0', 'an EnCase image (E01)', 'read it with ewfmount or ewfexport first'),
  image(0, 'EVF2\r\n\x81\0', 'an EnCase image (Ex01)', 'read it with ewfmount or ewfexport first'),
  image(0, 'AFF10\r\n\0', 'an AFF image', 'read it with affuse or affconvert first'),
  image(0, '\x3a\xff\x26\xed', 'an Android sparse image', 'unpack it with simg2img first'),
  image(0, 'partclone-image', 'a partclone image', 'restore it with partclone.restore first'),
  image(0, 'MSWIM\0\0\0', 'a Windows image (WIM)', 'apply it with wimapply first'),
  image(0, 'VMA\0', 'a Proxmox backup (VMA)', 'unpack it with vma extract first'),
];

/** A change tracking file of ESX. */
export const CHANGE_TRACKING: readonly string[] = ['\xa2\x72\x19\xf6', '\xa2\xe0\x9a\x0a'];

const OTHERS: readonly Signature[] = [
  other('%PDF-', 'a PDF document'),
  other('MRVN', 'the NVRAM of a virtual machine (.nvram)'),
  other('\xd0\xbe\xd2\xbe', 'the saved state of a virtual machine (.vmss or .vmsn)'),
  other('\xd1\xba\xd1\xba', 'the saved state of a virtual machine (.vmss or .vmsn)'),
  other('\xd2\xbe\xd2\xbe', 'the saved state of a virtual machine (.vmss or .vmsn)'),
  other('\xd3\xbe\xd2\xbe', 'the saved state of a virtual machine (.vmss or .vmsn)'),
  other('\x89PNG\r\n\x1a\n', 'a PNG picture'),
  other('\xff\xd8\xff\xe0', 'a JPEG picture'),
];

const PLAIN_DISKS: readonly Signature[] = [
  plain(32769, 'CD001', 'an ISO 9660 image (CD or DVD)'),
  plain(32769, 'BEA01', 'a UDF image (DVD)'),
  plain(512, 'EFI PART', 'a disk with a GPT'),
  plain(0, 'LUKS\xba\xbe', 'a LUKS volume'),
  plain(0, 'hsqs', 'a squashfs file system'),
  plain(0, 'XFSB', 'an XFS file system'),
  plain(1080, '\x53\xef', 'an ext2, ext3 or ext4 file system'),
  plain(510, '\x55\xaa', 'a disk with a boot sector'),
];

/** A disk may begin as a program does, with the code that starts it. */
const PROGRAMS: readonly Signature[] = [
  other('\x7fELF', 'a program (ELF)'),
  { ...other('This program cannot be run', 'a Windows program'), at: 78 },
  other('#!/', 'a script'),
];

/** What a file is by its bytes alone; undefined where they say nothing. */
export function findSignature(sample: FileSample): Finding | undefined {
  const groups = [PACKED, IMAGES, OTHERS, PLAIN_DISKS, PROGRAMS];
  return groups.flat().find((signature) => isSigned(sample, signature));
}

function isSigned({ head, tail }: FileSample, { at, bytes }: Signature): boolean {
  const from = at < 0 ? tail.length + at : at;
  if (from < 0) return false;
  const place = at < 0 ? tail : head;
  return place.toString('latin1', from, from + bytes.length) === bytes;
}
