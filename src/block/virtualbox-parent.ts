/**
 * From a child of VirtualBox to its parent, which it names by a UUID alone: the file is looked for
 * where VirtualBox keeps images. They lie in the machine's folder, and those of snapshots in the folder
 * `Snapshots` below it. A bounded number of files is looked at, from their beginning, and none of them
 * is locked.
 */
import { join } from 'node:path';
import { statSync } from '../os/host-fs.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { fileNamesIn, FILES_MAX, readImage } from './images-beside.js';
import type { FileSource } from './file-source.js';

/** An image with a parent that only a UUID names. */
interface Child {
  readonly path: string;
  readonly source: FileSource;
}

/**
 * The image with the UUID `uuid`, the parent of `child`: beside it, in the folder `Snapshots` there, or
 * in the folder above.
 *
 * @throws VmdkError VMDK_MISSING_FILE where there is none, VMDK_SAME_UUID where there are two
 */
export function findVirtualBoxParent(child: Child, uuid: string): FileSource {
  let left = FILES_MAX;
  const own = identityOf(child.path);
  const { forbidden, folders } = child.source.searchPlaces();
  for (const folder of folders) {
    const found = new Map<string, string>();
    for (const path of filesIn(folder, uuid)) {
      if (left-- <= 0) break;
      const identity = identityOf(path);
      if (identity === undefined || identity === own) continue;
      if (hasUuid(path, uuid)) found.set(identity, path);
    }
    const [first, second] = found.values();
    if (second !== undefined) throw ambiguous(child.path, uuid, [first ?? '', second]);
    if (first !== undefined) return child.source.at(first);
  }
  const where = folders.length === 0 ? 'its archive' : folders.join(' or ');
  const above =
    forbidden === undefined
      ? ''
      : `; where it lies in ${forbidden}, --allow-outside looks there too`;
  throw new VmdkError(
    'VMDK_MISSING_FILE',
    child.path,
    `is a child that VirtualBox made, and its parent, the image with the UUID ${uuid}, is not in ${where}; put it beside the child${above}`,
  );
}

/** The regular files in `folder`, that which VirtualBox names after `uuid` first. */
function filesIn(folder: string, uuid: string): string[] {
  try {
    const names = [...fileNamesIn(folder)];
    const isNamed = (name: string): boolean => name.toLowerCase() === `{${uuid}}.vmdk`;
    const sorted = [...names.filter(isNamed), ...names.filter((name) => !isNamed(name))];
    return sorted.map((name) => join(folder, name));
  } catch {
    return []; // not there, or not ours to list
  }
}

function hasUuid(path: string, uuid: string): boolean {
  try {
    return readImage(path)?.descriptor.virtualBox.image === uuid;
  } catch {
    return false; // gone, not ours to read, or no image
  }
}

function identityOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats === undefined ? undefined : `${stats.dev}:${stats.ino}`;
}

function ambiguous(path: string, uuid: string, found: readonly string[]): VmdkError {
  return new VmdkError(
    'VMDK_SAME_UUID',
    path,
    `two images have the UUID of its parent, ${uuid}: ${found.join(' and ')}; move the one that is not the parent out of the folder`,
  );
}
