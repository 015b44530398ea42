/**
 * The names of files in a descriptor. They are bytes in the encoding that its `encoding` line names, as
 * VMware, VirtualBox and Windows name encodings. The line can be wrong: a descriptor that was edited
 * or generated often has bytes of another encoding, so a name can have several readings.
 */
import { createRequire } from 'node:module';
import type * as IconvLite from 'iconv-lite';
import { isPlainText, pathOfBytes } from '../binary/path-text.js';
import type { Descriptor } from './descriptor.js';

const ASCII = /^[\0-\x7f]*$/;
const REPLACEMENT = '\ufffd';

/** Text in these would not have been read as lines of bytes. */
const WIDE = /^utf-?(?:16|32)/i;

let iconv: typeof IconvLite | undefined;

/**
 * What the name `name` (one character for each byte) may be, the likeliest first: in the encoding of
 * the descriptor, in UTF-8, the bytes as they are (`binary/path-text.ts`), in windows-1252.
 */
export function decodeFileNames(
  name: string,
  { entries }: Descriptor,
): readonly [string, ...string[]] {
  if (ASCII.test(name)) return [name];
  const bytes = Buffer.from(name, 'latin1');
  const read = (label: string): string[] => [decode(bytes, label) ?? []].flat();
  const label = entries.get('encoding')?.value ?? '';
  const [first = name, ...others] = new Set([
    ...read(label),
    ...read('utf-8'),
    pathOfBytes(bytes),
    ...read('windows-1252'),
  ]);
  return [first, ...others];
}

/** The likeliest reading of a name that is text, for people too. */
export function decodeFileName(name: string, descriptor: Descriptor): string {
  const readings = decodeFileNames(name, descriptor);
  return readings.find(isPlainText) ?? readings[0];
}

/** Undefined where the encoding is not known, or the bytes are no text in it. */
function decode(bytes: Buffer, label: string): string | undefined {
  // Few images need it, and loading it takes a moment.
  iconv ??= createRequire(import.meta.url)('iconv-lite') as typeof IconvLite;
  if (label === '' || WIDE.test(label) || !iconv.encodingExists(label)) return undefined;
  const text = iconv.decode(bytes, label, { stripBOM: false });
  if (text.includes(REPLACEMENT)) return undefined;
  // Some encodings read what they do not have as something else.
  return iconv.encode(text, label).equals(bytes) ? text : undefined;
}
