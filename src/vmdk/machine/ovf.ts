/**
 * The text of an OVF descriptor (DSP0243): which files an appliance has, and which of them are disks,
 * in what order. Namespaces and prefixes vary between writers, so names are matched without them.
 *
 * The text is somebody else's: entities of its own (DOCTYPE) are refused, and so is what is larger or
 * deeper than any appliance.
 */
import sax from 'sax';
import { VmdkError } from '../vmdk-error.js';

/** Longest text, bytes. */
export const OVF_BYTES_MAX = 4 * 1024 * 1024;

const DEPTH_MAX = 64;

/** Most files and most disks. */
const ENTRIES_MAX = 10_000;

/** A file of the appliance. */
export interface OvfFile {
  readonly id: string;
  /** Where it is, relative to the text; it may be percent-encoded, or a URL. */
  readonly href: string;
  /** Bytes; of a compressed file some writers mean those before it was compressed, some those after. */
  readonly size: number | undefined;
  readonly isGzip: boolean;
  /** Bytes of each of its pieces but the last; undefined where it is whole. */
  readonly chunkBytes: number | undefined;
}

/** What a text says. */
export interface Ovf {
  /** In the order of the text. */
  readonly files: readonly OvfFile[];
  /** The files that are disks, in the order of the disks. */
  readonly disks: readonly OvfFile[];
}

/** A text that is no XML. */
export class OvfSyntaxError extends Error {
  override readonly name = 'OvfSyntaxError';
}

/**
 * Parses the text of an OVF.
 *
 * @param file for messages
 * @throws OvfSyntaxError where it is no XML; VmdkError VMDK_BAD_ARCHIVE where it is more than an
 *   appliance needs: too long or too deep, with too many entries, or with a DOCTYPE
 */
export function parseOvf(bytes: Uint8Array, file: string): Ovf {
  if (bytes.length > OVF_BYTES_MAX) throw tooMuch(file, `is longer than ${OVF_BYTES_MAX} bytes`);
  const entries = new Entries(file);
  parse(decode(bytes), entries, file);
  return entries.result();
}

/** UTF-16 has a mark; everything else is taken as UTF-8. */
function decode(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  return new TextDecoder().decode(bytes);
}

function parse(text: string, entries: Entries, file: string): void {
  const parser = sax.parser(true, { position: false });
  parser.onerror = (error) => {
    throw error;
  };
  parser.ondoctype = () => {
    throw new VmdkError(
      'VMDK_BAD_ARCHIVE',
      file,
      'has a DOCTYPE, which no OVF needs and which is not read; take it out',
    );
  };
  parser.onopentag = ({ attributes, name }) => {
    entries.open(localName(name), attributes);
  };
  parser.onclosetag = () => {
    entries.close();
  };
  try {
    parser.write(text).close();
  } catch (error) {
    if (error instanceof VmdkError) throw error;
    const [reason] = (error instanceof Error ? error.message : '').split('\n');
    throw new OvfSyntaxError(reason, { cause: error });
  }
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

/** Of an element; values are text, as namespaces are not looked at. */
type Attributes = sax.Tag['attributes'] | sax.QualifiedTag['attributes'];

/** The value of an attribute, whatever its prefix. */
function attribute(attributes: Attributes, wanted: string): string | undefined {
  const all: readonly [string, unknown][] = Object.entries(attributes);
  const value = all.find(([name]) => localName(name) === wanted)?.[1];
  return typeof value === 'string' ? value : undefined;
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text.trim()) ? Number(text) : undefined;
}

/** What is kept of the elements. */
class Entries {
  readonly #file: string;
  readonly #files: OvfFile[] = [];
  /** The ids of the files of the disks. */
  readonly #disks: string[] = [];
  readonly #path: string[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  open(name: string, attributes: Attributes): void {
    const parent = this.#path.at(-1);
    if (this.#path.length === DEPTH_MAX)
      throw tooMuch(this.#file, `nests elements more than ${DEPTH_MAX} deep`);
    this.#path.push(name);
    if (name === 'File' && parent === 'References') this.#addFile(attributes);
    if (name === 'Disk' && parent === 'DiskSection') this.#addDisk(attributes);
    if (Math.max(this.#files.length, this.#disks.length) > ENTRIES_MAX) {
      throw tooMuch(this.#file, `names more than ${ENTRIES_MAX} files or disks`);
    }
  }

  close(): void {
    this.#path.pop();
  }

  result(): Ovf {
    const byId = new Map(this.#files.map((file) => [file.id, file]));
    const disks = this.#disks.flatMap((id) => byId.get(id) ?? []);
    return { files: this.#files, disks: [...new Set(disks)] };
  }

  #addFile(attributes: Attributes): void {
    const href = attribute(attributes, 'href');
    if (href === undefined) return;
    this.#files.push({
      id: attribute(attributes, 'id') ?? '',
      href,
      size: numberOf(attribute(attributes, 'size')),
      isGzip: attribute(attributes, 'compression')?.trim().toLowerCase() === 'gzip',
      chunkBytes: numberOf(attribute(attributes, 'chunkSize')),
    });
  }

  /** A disk without a file is an empty one. */
  #addDisk(attributes: Attributes): void {
    const id = attribute(attributes, 'fileRef');
    if (id !== undefined) this.#disks.push(id);
  }
}

function tooMuch(file: string, found: string): VmdkError {
  return new VmdkError(
    'VMDK_BAD_ARCHIVE',
    file,
    `${found}; no appliance needs that, and it is not read`,
  );
}
