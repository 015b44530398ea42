/**
 * What is in the volumes of a disk, as blkid(8) of util-linux sees it. It gets a file without a name,
 * as long as the volume, with the parts of the volume that it looks at and holes for the rest: no
 * mount is needed, and no more than some MiB are read.
 */
import { closeSync, ftruncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describeError } from '../errno.js';
import { openNameless } from '../block/nameless-file.js';
import type { BlockDevice } from '../block/block-device.js';
import { runProgramNow } from '../os/program-now.js';
import { contentPlaces } from '../volumes/content-places.js';

/** What is in a volume; the JSON shape. */
export interface Content {
  /** libblkid's name, as `ext4` or `LVM2_member`. */
  readonly type: string;
  /** libblkid's word: `filesystem`, `raid`, `crypto` or `other`. */
  readonly usage: string;
  readonly version: string | null;
  readonly label: string | null;
  readonly uuid: string | null;
}

/** Bytes from `start` on of a disk. */
export interface Volume {
  readonly start: number;
  readonly size: number;
}

/** Milliseconds that blkid may take for a volume: it needs three. */
const LIMIT = 10_000;

/** How blkid ends that has found nothing, and several things that cannot all be (blkid(8)). */
const NOTHING = 2;
const SEVERAL = 8;

/** Looks into the volumes of one disk, one by one. */
export class VolumeContents {
  readonly #device: BlockDevice;
  #fd: number | undefined;
  #isMissing = false;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  /**
   * What is in a volume: null where it is nothing that blkid knows, undefined where that cannot be
   * told, as without blkid.
   *
   * @param name of the volume, for what is told
   * @param notices gets why it cannot be told
   */
  find(volume: Volume, name: string, notices: string[]): Content | null | undefined {
    if (this.#isMissing) return undefined;
    try {
      return this.#ask(volume, name, notices);
    } catch (error) {
      notices.push(`${name}: what is in it cannot be told: ${describeError(error)}`);
      return undefined;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #ask(volume: Volume, name: string, notices: string[]): Content | null | undefined {
    const fd = this.#copy(volume);
    const args = ['-p', '-o', 'udev', `/proc/${process.pid}/fd/${fd}`];
    const result = runProgramNow('blkid', args, LIMIT);
    this.#isMissing = result === undefined;
    if (result === undefined) return undefined;
    const { status, stderr, stdout } = result;
    if (status === NOTHING) return null;
    const facts = factsOf(stdout);
    if (status === SEVERAL) {
      const kinds = (facts.get('ID_FS_AMBIVALENT') ?? '')
        .split(' ')
        .map((each) => each.split(':')[1]);
      notices.push(
        `${name}: has the marks of several kinds of content (${kinds.join(', ')}); wipefs --no-act lists them`,
      );
      return undefined;
    }
    if (status !== 0) throw new Error(`blkid: ${stderr.trim() || `ended with ${status}`}`);
    return contentOf(facts);
  }

  /** A file that is as the volume where blkid looks. */
  #copy({ size, start }: Volume): number {
    const fd = (this.#fd ??= openNameless(tmpdir()));
    ftruncateSync(fd, 0);
    ftruncateSync(fd, size);
    const read = (offset: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length);
      this.#device.read(bytes, 0, length, start + offset);
      return bytes;
    };
    for (const place of contentPlaces(read, size)) {
      const bytes = read(place.start, place.end - place.start);
      for (let done = 0; done < bytes.length;) {
        done += writeSync(fd, bytes, done, bytes.length - done, place.start + done);
      }
    }
    return fd;
  }
}

/** The values in what blkid prints for udev: lines of KEY=value. */
function factsOf(text: string): Map<string, string> {
  const lines = text.split('\n').map((line) => /^(\w+)=(.*)$/.exec(line) ?? []);
  return new Map(lines.map(([, key = '', value = '']) => [key, value]));
}

/** Null where blkid has found a partition table only. */
function contentOf(facts: ReadonlyMap<string, string>): Content | null {
  const type = facts.get('ID_FS_TYPE');
  if (type === undefined) return null;
  const text = (key: string): string | null => {
    const value = facts.get(key);
    return value === undefined || value === '' ? null : decoded(value);
  };
  return {
    type,
    usage: facts.get('ID_FS_USAGE') ?? 'other',
    version: text('ID_FS_VERSION'),
    label: text('ID_FS_LABEL_ENC'),
    uuid: text('ID_FS_UUID_ENC'),
  };
}

/** blkid writes bytes that are no plain letters as `\x20`, those of `%` too. */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value.replaceAll(/\\x([0-9a-f]{2})/gi, '%$1'));
  } catch {
    return value;
  }
}
