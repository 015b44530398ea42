/**
 * Files of text that come with virtual machines, and are taken for disks: by their words, in 8 bits
 * or in UTF-16. Only the beginning of a text is looked at.
 */
import { looksLikeDescriptor } from '../../vmdk/descriptor.js';
import { DESCRIPTOR_BYTES_MAX } from '../../vmdk/limits.js';
import type { FileSample } from './file-sample.js';
import type { Finding } from './finding.js';

interface TextKind {
  readonly pattern: RegExp;
  readonly what: string;
  readonly advice: string;
  /** Finds the name of a disk in the text, which the advice then ends with. */
  readonly disk?: RegExp;
}

const OPEN_DISK = 'open the disk that it names';
const NO_IMAGE = 'give the disk image instead';

const KINDS: readonly TextKind[] = [
  {
    pattern: /<(?:\w{1,20}:)?Envelope[\s>]/,
    what: 'an OVF file, which describes a virtual machine and holds no disk',
    advice: OPEN_DISK,
    disk: /\bhref\s{0,9}=\s{0,9}"([^"\r\n]{1,255}\.vmdk)"/i,
  },
  {
    pattern: /^[ \t]*snapshot\.(?:lastUID|current|numSnapshots|mru)/im,
    what: 'a VMSD file, the list of snapshots of a virtual machine',
    advice: 'open the disk of the snapshot that you want',
  },
  {
    pattern: /^[ \t]*(?:config\.version|virtualHW\.version|guestOS|memsize)[ \t]*=/im,
    what: 'a VMX file, the configuration of a virtual machine',
    advice: OPEN_DISK,
    disk: /^[ \t]*\w{2,9}:\d{1,3}\.fileName[ \t]*=[ \t]*"([^"\r\n]{1,255}\.vmdk)"/im,
  },
  {
    pattern: /<VirtualBox[\s>]/,
    what: 'the configuration of a VirtualBox machine',
    advice: OPEN_DISK,
    disk: /\blocation\s{0,9}=\s{0,9}"([^"\r\n]{1,255}\.vmdk)"/i,
  },
  {
    pattern: /<Foundry[\s>]/,
    what: 'a VMXF file, a part of the configuration of a virtual machine',
    advice: NO_IMAGE,
  },
  {
    pattern: /^SHA(?:1|256|512)[ \t]?\([^)\r\n]{1,255}\)[ \t]{0,9}=/i,
    what: 'the manifest of an OVF (.mf), a list of checksums',
    advice: NO_IMAGE,
  },
  {
    pattern: /^version https:\/\/git-lfs/,
    what: 'a pointer of Git LFS',
    advice: 'fetch the file itself with git lfs pull',
  },
  {
    pattern: /^\s{0,99}(?:<!doctype html|<html[\s>])/i,
    what: 'a web page',
    advice: 'download the file again',
  },
];

/** What a file is by its text; undefined where it is none of these. */
export function findText(sample: FileSample): Finding | undefined {
  const wide = utf16TextOf(sample.head);
  if (wide !== undefined && looksLikeDescriptor(wide)) {
    return {
      what: 'a VMDK descriptor in UTF-16',
      advice: 'write it as UTF-8 with iconv -f UTF-16 -t UTF-8 first',
    };
  }
  const [eightBit = ''] = sample.head.toString('latin1').split('\0', 1);
  if (isLongDescriptor(sample, eightBit)) {
    return {
      what: `a VMDK descriptor of ${sample.length} bytes (at most ${DESCRIPTOR_BYTES_MAX} are read)`,
      advice: 'remove its comments, or what was appended to it',
    };
  }
  return findWords(wide ?? eightBit);
}

/** A text without a NUL; a disk may begin with what looks like a descriptor, and goes on otherwise. */
function isLongDescriptor({ head, length }: FileSample, text: string): boolean {
  const isText = length > DESCRIPTOR_BYTES_MAX && text.length === head.length;
  return isText && looksLikeDescriptor(text);
}

function findWords(text: string): Finding | undefined {
  const kind = KINDS.find(({ pattern }) => pattern.test(text));
  if (kind === undefined) return undefined;
  const name = kind.disk?.exec(text)?.[1];
  const advice = name === undefined ? kind.advice : `${kind.advice}, ${name}`;
  return { what: kind.what, advice };
}

/** The characters of a text in UTF-16, with or without a byte-order mark; undefined for another. */
function utf16TextOf(head: Buffer): string | undefined {
  // Without a mark the first two characters are ASCII, so one byte of each is 0.
  const start = head.toString('latin1', 0, 4);
  const isBig = /^(?:\xfe\xff|\0[^\0]\0[^\0])/.test(start);
  if (!isBig && !/^(?:\xff\xfe|[^\0]\0[^\0]\0)/.test(start)) return undefined;
  const even = Buffer.from(head.subarray(0, head.length - (head.length % 2)));
  const text = (isBig ? even.swap16() : even).toString('utf16le').replace('\ufeff', '');
  return text.split('\0', 1)[0];
}
