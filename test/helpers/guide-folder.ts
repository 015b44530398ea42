/** The folder in which a task of the guide begins: the images that it names, made by us. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createImage, openImage } from '../../src/library.js';
import { SECTOR_BYTES } from '../../src/vmdk/limits.js';
import { shell } from './run.js';

const DISK_BYTES = 64 * 2 ** 20;
const PARTITION_AT = 2 ** 20;

/** Bytes of a sparse header where the sector of its grain directory stands. */
const DIRECTORY_FIELD = 56;

/** Fills `folder` with vm.vmdk, broken.vmdk, damaged.vmdk and app.ova, and empty folders. */
export async function fillGuideFolder(folder: string): Promise<void> {
  for (const name of ['mnt', 'files', 'root/etc', 'root/home']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  writeFileSync(join(folder, 'root/etc/hostname'), 'vm\n');
  writeFileSync(join(folder, 'root/home/report.txt'), 'a report\n');
  const raw = join(folder, 'made.raw');
  await shell(
    `truncate -s ${DISK_BYTES} "$1" && echo 'start=2048, type=83' | sfdisk -q "$1"
     mkfs.ext4 -q -F -b 1024 -d "$2" -E offset=${PARTITION_AT} "$1" 63M`,
    raw,
    join(folder, 'root'),
  );
  const image = join(folder, 'vm.vmdk');
  writeImage(image, readFileSync(raw));
  await shell(PACK, folder);
  damage(join(folder, 'damaged.vmdk'));
  const broken = openImage(join(folder, 'broken.vmdk'), { readOnly: false });
  // The superblock stands in the second KiB of the file system.
  broken.zero(PARTITION_AT + 1024, 1024);
  broken.close();
}

/** Copies of the image, one of them in an archive; what is not needed any more is gone. */
const PACK = `
  cd "$1"
  for name in app-disk1 damaged broken; do cp vm.vmdk "$name.vmdk"; done
  echo '<Envelope/>' >app.ovf
  tar --format=ustar -cf app.ova app.ovf app-disk1.vmdk
  rm -r app.ovf app-disk1.vmdk made.raw root`;

function writeImage(path: string, disk: Buffer): void {
  createImage(path, { size: disk.length });
  const device = openImage(path, { readOnly: false });
  device.write(disk, 0, disk.length, 0);
  device.close();
}

/** Lets the first entry of the first grain table lead past the end of the file. */
function damage(path: string): void {
  const file = readFileSync(path);
  const directory = Number(file.readBigUInt64LE(DIRECTORY_FIELD)) * SECTOR_BYTES;
  const table = file.readUInt32LE(directory) * SECTOR_BYTES;
  file.writeUInt32LE(0x7fff_ff80, table);
  writeFileSync(path, file);
}
