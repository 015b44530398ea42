/** Files that people give in place of a disk image, made from the bytes by which they are known. */

const latin = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A file of `length` bytes that has `bytes` at `at`. */
export function signed(at: number, bytes: string, length = 4096): Buffer {
  const file = Buffer.alloc(Math.max(length, at + bytes.length));
  file.write(bytes, at, 'latin1');
  return file;
}

/** A file that ends with a trailer of 512 bytes that begins with `bytes`. */
export function trailed(bytes: string, length = 200_000): Buffer {
  return signed(length - 512, bytes, length);
}

/** A header of a tar archive from before POSIX, and one block behind it. */
export function oldTar(name: string): Buffer {
  const block = Buffer.alloc(1024);
  block.write(name, 0, 'latin1');
  block.write('0000644\x000000000\x000000000\x0000000001000\x0014000000000\0', 100, 'latin1');
  block.fill(' ', 148, 156);
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

export const OVF = `<?xml version="1.0"?>
<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <ovf:References><ovf:File ovf:href="vm-disk1.vmdk" ovf:id="file1"/></ovf:References>
</ovf:Envelope>
`;

export const VMX = `.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "14"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "vm.vmdk"
`;

export const GZIP = latin('\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0');
export const XZ = signed(0, '\xfd7zXZ\0\0\x04');
export const ZIP = signed(0, 'PK\x03\x04\x14\0');
export const QCOW2 = signed(0, 'QFI\xfb\0\0\0\x03');
export const VDI = Buffer.concat([
  latin('<<< Oracle VM VirtualBox Disk Image >>>\n').subarray(0, 40),
  Buffer.alloc(24),
  latin('\x7f\x10\xda\xbe'),
  Buffer.alloc(4096),
]);
export const VHDX = signed(0, 'vhdxfile', 70_000);
export const ISO = signed(32769, 'CD001\x01', 65_536);
export const PDF = latin('%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n');
export const TRACKING = signed(0, '\xa2\x72\x19\xf6\x01\0\0\0', 8192);
