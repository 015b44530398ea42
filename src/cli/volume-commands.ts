/** What is in a volume, in words, and the commands that open it. */
import type { Content } from './volume-contents.js';

/** A volume as a user of a mount finds it. */
interface VolumeFile {
  /** Its name in the mount. */
  readonly file: string;
  /** Where it is on the disk, bytes; undefined for the disk itself. */
  readonly range: { readonly start: number; readonly size: number } | undefined;
}

/** A kind of content that needs more than `mount -o loop`. */
interface Kind {
  readonly words: string;
  /** For the path of the file; none where nothing in it can be mounted. */
  readonly commands: (path: string, version: string | null) => readonly string[];
}

const none = (): readonly string[] => [];

/** A device, and what to do with it then. */
function attached(then: string): (path: string) => readonly string[] {
  return (path) => [`losetup --find --show ${path}   # ${then}`];
}

const KINDS: Readonly<Record<string, Kind>> = {
  LVM2_member: {
    words: 'an LVM physical volume',
    commands: attached('then: vgs, vgchange -ay VG, mount /dev/VG/LV DIR'),
  },
  LVM1_member: { words: 'an LVM 1 physical volume', commands: none },
  crypto_LUKS: {
    words: 'LUKS encryption',
    commands: (path) => [`cryptsetup open ${path} NAME   # then: mount /dev/mapper/NAME DIR`],
  },
  BitLocker: {
    words: 'BitLocker encryption',
    commands: (path) => [
      `cryptsetup open --type bitlk ${path} NAME   # then: mount /dev/mapper/NAME DIR`,
    ],
  },
  linux_raid_member: {
    words: 'a member of a Linux RAID',
    commands: attached('for each member, then: mdadm --assemble --scan'),
  },
  zfs_member: {
    words: 'a member of a ZFS pool',
    commands: (path) => [`zpool import -d ${path}   # lists the pools; name one to import it`],
  },
  swap: { words: 'swap space', commands: none },
  swsuspend: { words: 'the memory of a hibernated system', commands: none },
  VMFS_volume_member: {
    words: 'a VMware VMFS datastore',
    commands: (path, version) => [`${version === '6' ? 'vmfs6-fuse' : 'vmfs-fuse'} ${path} DIR`],
  },
  apfs: { words: 'apfs', commands: (path) => [`apfs-fuse ${path} DIR`] },
  ntfs: { words: 'ntfs', commands: (path) => [`mount -t ntfs3 -o loop ${path} DIR`] },
  ufs: {
    words: 'ufs',
    commands: (path, version) => [
      `mount -t ufs -o ro,loop,ufstype=${version === '2' ? 'ufs2' : '44bsd'} ${path} DIR`,
    ],
  },
};

/** Words in the name of a partition's type for which `mount` would fail, where blkid says nothing. */
const NO_MOUNT =
  /LVM|LUKS|dm-crypt|RAID|swap|dynamic disk|reserved|BIOS boot|ZFS|VMFS|diagnostics/i;

/** What is in a volume, for a line of facts; none where that is not known. */
export function describeContent(content: Content | null | undefined): string[] {
  if (content === undefined) return [];
  if (content === null) return ['holds nothing that blkid knows'];
  const label = content.label === null ? '' : ` labelled ${JSON.stringify(content.label)}`;
  return [`holds ${KINDS[content.type]?.words ?? content.type}${label}`];
}

/**
 * The commands that open a volume, MNT being where its image is mounted.
 *
 * @param content null where nothing is known to be in it, undefined where nobody has looked
 * @param typeName its type in the partition table, which then decides
 */
export function openingCommands(
  content: Content | null | undefined,
  typeName: string,
  { file, range }: VolumeFile,
): readonly string[] {
  const path = `MNT/${file}`;
  if (content === null || (content === undefined && NO_MOUNT.test(typeName))) return [];
  const kind = content === undefined ? undefined : KINDS[content.type];
  if (kind !== undefined) return kind.commands(path, content?.version ?? null);
  if (content !== undefined && content.usage !== 'filesystem') return [];
  const whole = `mount -o loop ${path} DIR`;
  if (range === undefined) return [whole];
  const options = `loop,offset=${range.start},sizelimit=${range.size}`;
  return [whole, `mount -o ${options} MNT/disk.raw DIR`];
}
