/** What four commands say of files that are no image: one line with what it is, and what to do. */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  GZIP,
  ISO,
  OVF,
  PDF,
  QCOW2,
  TRACKING,
  VDI,
  VHDX,
  VMX,
  XZ,
  ZIP,
} from '../helpers/other-files.js';
import { check, CLI, vmdkfs, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const QEMU = 'make a VMDK of it with qemu-img convert -O vmdk';
const RAW = ', or take its bytes as a disk with --raw-input';

/** Name, what is in the file, and what is said of it behind its name. */
const FILES: readonly [name: string, bytes: Uint8Array | string, reason: string][] = [
  ['vm.vmdk.gz', GZIP, 'is a gzip file; unpack it with gunzip first'],
  ['vm.vmdk.xz', XZ, 'is an xz file; unpack it with unxz first'],
  ['vm.zip', ZIP, 'is a zip archive; unpack it with unzip first'],
  ['vm.qcow2', QCOW2, `is a QCOW2 image (QEMU); ${QEMU}`],
  ['vm.vdi', VDI, `is a VDI image (VirtualBox); ${QEMU}`],
  ['vm.vhdx', VHDX, `is a VHDX image (Hyper-V); ${QEMU}`],
  ['manual.pdf', PDF, 'is a PDF document; give the disk image instead'],
  [
    'vm.ovf',
    OVF,
    'is an OVF file, which describes a virtual machine and holds no disk; open the disk that it names, vm-disk1.vmdk',
  ],
  [
    'vm.vmx',
    VMX,
    'is a VMX file, the configuration of a virtual machine; open the disk that it names, vm.vmdk',
  ],
  [
    'vm-ctk.vmdk',
    TRACKING,
    'is a change tracking file, which notes what of a disk has changed, and holds no disk; use the disk instead',
  ],
  ['empty.vmdk', '', 'is empty; copy or download it again'],
];

let folder: string;
let file: string;
let out: string;

beforeEach(() => {
  folder = tempFolder();
  mkdirSync(join(folder, 'files'));
  mkdirSync(join(folder, 'mnt'));
  out = join(folder, 'out.vmdk');
});

interface Outcomes {
  readonly info: Outcome;
  readonly mount: Outcome;
  readonly convert: Outcome;
  readonly check: Outcome;
}

/** What each command says of `file`; nothing is mounted, and `file` has nothing new beside it. */
async function outcomesOf(path: string): Promise<Outcomes> {
  const before = readdirSync(join(folder, 'files'));
  const [info, mount, convert, checked] = await Promise.all([
    vmdkfs('info', path),
    vmdkfs('mount', path, join(folder, 'mnt')),
    vmdkfs('convert', path, out),
    vmdkfs('check', path),
  ]);
  expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(` ${join(folder, 'mnt')} `);
  expect(readdirSync(join(folder, 'files'))).toEqual(before);
  return { info, mount, convert, check: checked };
}

/** Exit code 2 and one line. */
function refused(path: string, reason: string): Outcome {
  return { code: 2, stdout: '', stderr: `vmdkfs: ${path}: ${reason}\n` };
}

describe('info, mount, convert and check', () => {
  test.each(FILES)('of %s', async (name, bytes, reason) => {
    file = join(folder, 'files', name);
    writeFileSync(file, bytes);
    const said = refused(file, reason);
    expect(await outcomesOf(file)).toEqual({
      info: said,
      mount: said,
      convert: refused(file, bytes === '' ? reason : `${reason}${RAW}`),
      check: said,
    });
    expect(existsSync(out)).toBe(false);
  });

  test('of an ISO, which is a plain disk', async () => {
    file = join(folder, 'files', 'cd.iso');
    writeFileSync(file, ISO);
    const what = 'is an ISO 9660 image (CD or DVD)';
    const said = refused(file, `${what}, a plain disk and no VMDK; mount it with mount -o loop`);
    const { convert, ...others } = await outcomesOf(file);
    expect(others).toEqual({ info: said, mount: said, check: said });
    expect(convert).toMatchObject({
      code: 0,
      stderr: `vmdkfs: ${file}: ${what}, and is taken as a plain disk\n`,
    });
    expect(existsSync(out)).toBe(true);
  });

  test('of the data of a disk, and of one extent of several', async () => {
    const disk = join(folder, 'files', 'vm.vmdk');
    await check(process.execPath, CLI, 'create', disk, '-s', '1M', '-t', 'vmfs');
    file = join(folder, 'files', 'vm-flat.vmdk');
    const said = refused(file, `holds the data of the disk ${disk}; use that file instead`);
    const { convert, ...others } = await outcomesOf(file);
    expect(others).toEqual({ info: said, mount: said, check: said });
    expect(convert).toMatchObject({
      code: 0,
      stderr: `vmdkfs: ${file}: is taken as a plain disk; it holds the data of the disk ${disk}\n`,
    });
    rmSync(out);
    const split = join(folder, 'files', 'split.vmdk');
    const size = String(3 * 1024 ** 3);
    await check(process.execPath, CLI, 'create', split, '-s', size, '-t', 'twoGbMaxExtentSparse');
    file = join(folder, 'files', 'split-s002.vmdk');
    const part = refused(file, `is part 2 of 2 of the disk ${split}; use that file instead`);
    expect(await outcomesOf(file)).toEqual({ info: part, mount: part, convert: part, check: part });
  });

  test('of a folder', async () => {
    file = join(folder, 'files');
    const said = refused(file, 'is a directory (a VMDK file expected); name the file in it');
    expect(await outcomesOf(file)).toEqual({ info: said, mount: said, convert: said, check: said });
  });

  test('of a FIFO, without waiting for its other end', async () => {
    file = join(folder, 'files', 'fifo.vmdk');
    await check('mkfifo', file);
    const said = refused(
      file,
      'is a FIFO (named pipe), not a regular file; save what comes out of it as a file first',
    );
    expect(await outcomesOf(file)).toEqual({ info: said, mount: said, convert: said, check: said });
  });
});

test('--raw-input takes the bytes of any file as a disk, and -q does not say what was taken', async () => {
  file = join(folder, 'files', 'vm.qcow2');
  writeFileSync(file, QCOW2);
  const raw = join(folder, 'out.raw');
  const outcome = await vmdkfs('convert', file, raw, '-t', 'raw', '--raw-input');
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(raw).equals(QCOW2)).toBe(true);
  writeFileSync(file, Buffer.alloc(4096, 7));
  expect(await vmdkfs('convert', file, out, '-q')).toMatchObject({ code: 0, stderr: '' });
});
