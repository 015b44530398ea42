import { describe, expect, test } from 'vitest';
import type { FileSample } from '../../../../src/image/recognise/file-sample.js';
import { describeFinding } from '../../../../src/image/recognise/finding.js';
import { isChangeTracking, recognise } from '../../../../src/image/recognise/recognise.js';
import {
  GZIP,
  ISO,
  oldTar,
  OVF,
  PDF,
  QCOW2,
  signed,
  TRACKING,
  trailed,
  VDI,
  VHDX,
  VMX,
  XZ,
  ZIP,
} from '../../../helpers/other-files.js';

const KIB = 1024;
const DESCRIPTOR = '# Disk DescriptorFile\nversion=1\nCID=fffffffe\ncreateType="vmfs"\n';

function sample(bytes: Uint8Array | string, path = '/x/file'): FileSample {
  const file = Buffer.from(bytes as Uint8Array);
  const { length } = file;
  const tail = file.subarray(Math.max(0, length - 64 * KIB));
  return { path, length, head: file.subarray(0, 64 * KIB), tail };
}

function whatIs(bytes: Uint8Array | string): string | undefined {
  return recognise(sample(bytes))?.what;
}

/** The bytes of `text` in big-endian UTF-16. */
function bigEndian(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16();
}

describe('what is no disk', () => {
  test.each<[Uint8Array | string, RegExp]>([
    [GZIP, /^a gzip file/],
    [XZ, /^an xz file/],
    [signed(0, '\x28\xb5\x2f\xfd'), /^a zstd file/],
    [signed(0, 'BZh91AY&SY'), /^a bzip2 file/],
    [signed(0, '\x04\x22\x4d\x18'), /^an lz4 file/],
    [ZIP, /^a zip archive/],
    [signed(0, '7z\xbc\xaf\x27\x1c'), /^a 7z archive/],
    [signed(0, 'Rar!\x1a\x07\x01\0'), /^a RAR archive/],
    [oldTar('vm.vmdk'), /^a tar archive/],
    [QCOW2, /^a QCOW2 image/],
    [signed(0, 'QFI\xfb\0\0\0\x01'), /^a QCOW image/],
    [VDI, /^a VDI image/],
    [signed(64, '\x7f\x10\xda\xbe'), /^a VDI image/],
    [VHDX, /^a VHDX image/],
    [signed(0, 'conectix'), /^a VHD image/],
    [trailed('conectix'), /^a VHD image/],
    [trailed('koly\0\0\0\x04\0\0\x02\0'), /^an Apple disk image/],
    [signed(0, 'EVF\t\r\n\xff\0\x01'), /^an EnCase image \(E01\)/],
    [signed(0, 'EVF2\r\n\x81\0'), /^an EnCase image \(Ex01\)/],
    [PDF, /^a PDF document/],
    [signed(0, '\x7fELF\x02\x01'), /^a program \(ELF\)/],
    [signed(78, 'This program cannot be run in DOS mode'), /^a Windows program/],
    [signed(0, '\xd2\xbe\xd2\xbe'), /^the saved state/],
    ['', /^empty/],
  ])('by its bytes: %#', (bytes, what) => {
    expect(whatIs(bytes)).toMatch(what);
    expect(recognise(sample(bytes))?.isPlainDisk).toBeUndefined();
  });

  test.each<[Uint8Array | string, RegExp]>([
    [OVF, /^an OVF file/],
    ['<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1">', /^an OVF file/],
    [Buffer.from(`\ufeff${OVF}`, 'utf16le'), /^an OVF file/],
    [VMX, /^a VMX file/],
    [VMX.replaceAll('\n', '\r\n'), /^a VMX file/],
    ['snapshot.lastUID = "2"\nsnapshot.current = "2"\n', /^a VMSD file/],
    ['<?xml version="1.0"?>\n<VirtualBox version="1.16">', /^the configuration of a VirtualBox/],
    ['SHA256(vm.ovf)= 0123\nSHA256(vm.vmdk)= 4567\n', /^the manifest of an OVF/],
    ['version https://git-lfs.github.com/spec/v1\n', /^a pointer of Git LFS/],
    ['\n<!DOCTYPE html>\n<html>', /^a web page/],
    [Buffer.from(`\ufeff${DESCRIPTOR}`, 'utf16le'), /^a VMDK descriptor in UTF-16/],
    [Buffer.from(DESCRIPTOR, 'utf16le'), /^a VMDK descriptor in UTF-16/],
    [bigEndian(`\ufeff${DESCRIPTOR}`), /^a VMDK descriptor in UTF-16/],
    [bigEndian(DESCRIPTOR), /^a VMDK descriptor in UTF-16/],
    [DESCRIPTOR + '# x\n'.repeat(300_000), /^a VMDK descriptor of 1200063 bytes \(at most 1048576/],
  ])('by its words: %#', (bytes, what) => {
    expect(whatIs(bytes)).toMatch(what);
  });

  test('what to do ends with the disk that a text names', () => {
    expect(recognise(sample(OVF))?.advice).toBe('open the disk that it names, vm-disk1.vmdk');
    expect(recognise(sample(VMX))?.advice).toBe('open the disk that it names, vm.vmdk');
    expect(recognise(sample('config.version = "8"\n'))?.advice).toBe('open the disk that it names');
  });
});

describe('a plain disk', () => {
  test.each<[Uint8Array, RegExp]>([
    [ISO, /^an ISO 9660 image/],
    [signed(510, '\x55\xaa'), /^a disk with a boot sector/],
    [signed(512, 'EFI PART'), /^a disk with a GPT/],
    [signed(1080, '\x53\xef'), /^an ext2/],
  ])('is named and stays a disk: %#', (bytes, what) => {
    const found = recognise(sample(bytes));
    expect(found).toMatchObject({ what: expect.stringMatching(what) as string, isPlainDisk: true });
    expect(describeFinding(found!)).toMatch(
      /, a plain disk and no VMDK; mount it with mount -o loop$/,
    );
  });

  test('a VHD of fixed size is no plain disk, although its disk stands first', () => {
    const file = trailed('conectix');
    file.write('\x55\xaa', 510, 'latin1');
    expect(whatIs(file)).toMatch(/VHD/);
  });

  test.each<[string, Uint8Array]>([
    ['zeros', Buffer.alloc(200_000)],
    ['one letter', Buffer.alloc(2 * KIB * KIB, 'a')],
    ['a line feed', Buffer.alloc(2 * KIB * KIB, '\n')],
    ['blanks', Buffer.alloc(2 * KIB * KIB, ' ')],
    ['a few bytes', Buffer.from([1, 0, 2])],
    ['gzip magic further on', signed(512, '\x1f\x8b\x08')],
    ['a trailer that is not at the end', signed(1000, 'conectix', 100_000)],
    ['a descriptor in the first sector of a large disk', signed(0, DESCRIPTOR, 2 * KIB * KIB)],
  ])('is not recognised as anything by %s', (_name, bytes) => {
    const before = performance.now();
    expect(recognise(sample(bytes))).toBeUndefined();
    expect(performance.now() - before).toBeLessThan(2000);
  });
});

test('a change tracking file is known by its bytes, or by its name', () => {
  expect(isChangeTracking(sample(TRACKING))).toBe(true);
  expect(isChangeTracking(sample('abcd', '/vm/vm-ctk.vmdk'))).toBe(true);
  expect(isChangeTracking(sample('abcd', '/vm-ctk.vmdk/vm.vmdk'))).toBe(false);
});
