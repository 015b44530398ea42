/** OVA archives written by hand from POSIX's ustar format and its GNU and pax extensions. */
import { writeFileSync } from 'node:fs';

const BLOCK = 512;

export interface OvaMember {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Written as GNU tar -S does; the zeros between its data are not in the archive. */
  readonly sparse?: SparseMember;
}

/** How a sparse member is written. */
export interface SparseMember {
  /** Type `S`, or one of the ways of pax records. */
  readonly kind: 'gnu' | 'pax-0.0' | 'pax-0.1' | 'pax-1.0';
  /** Where its data is: start and length. */
  readonly regions: readonly (readonly [start: number, length: number])[];
}

export interface OvaOptions {
  /**
   * How names are written: `ustar` (the default) in the header alone, at most 100 bytes and a
   * prefix; `gnu` in an `L` record before each header; `pax` in an `x` header before each, which
   * then also has the only true size: the header behind it says 0.
   */
  readonly names?: 'ustar' | 'gnu' | 'pax';
  /** Sizes as big-endian numbers behind a set high bit, as archivers write them from 8 GiB on. */
  readonly base256Sizes?: boolean;
}

/** Writes an archive; where the bytes of each member begin, by name, in bytes from the start. */
export function writeOva(
  path: string,
  members: readonly OvaMember[],
  options: OvaOptions = {},
): ReadonlyMap<string, number> {
  const parts: Buffer[] = [];
  const offsets = new Map<string, number>();
  let length = 0;
  const append = (...more: readonly Uint8Array[]): void => {
    for (const bytes of more) {
      const padding = Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK);
      parts.push(Buffer.from(bytes), padding);
      length += bytes.length + padding.length;
    }
  };
  for (const member of members) {
    if (member.sparse !== undefined) {
      append(...sparseParts(member, member.sparse, options));
      continue;
    }
    append(...headersOf(member, options));
    offsets.set(member.name, length);
    append(member.bytes);
  }
  append(Buffer.alloc(2 * BLOCK));
  writeFileSync(path, Buffer.concat(parts));
  return offsets;
}

/** All that precedes a member's bytes. */
function headersOf({ name, bytes }: OvaMember, options: OvaOptions): Buffer[] {
  const isBase256 = options.base256Sizes === true;
  if (options.names === 'gnu') {
    const long = Buffer.from(`${name}\0`, 'utf8');
    const isGnu = true;
    return [
      header({ name: '././@LongLink', type: 'L', size: long.length, isGnu }),
      long,
      header({ name: cut(name), type: '0', size: bytes.length, isBase256, isGnu }),
    ];
  }
  if (options.names === 'pax') {
    const records = Buffer.concat([record('path', name), record('size', String(bytes.length))]);
    return [
      header({ name: 'PaxHeaders/member', type: 'x', size: records.length }),
      records,
      header({ name: cut(name), type: '0', size: 0, isBase256 }),
    ];
  }
  const [prefix, rest] = split(name);
  return [header({ name: rest, prefix, type: '0', size: bytes.length, isBase256 })];
}

/** A sparse member: its headers, and last its data. */
function sparseParts(
  { bytes, name }: OvaMember,
  sparse: SparseMember,
  options: OvaOptions,
): Buffer[] {
  const { kind, regions } = sparse;
  const whole = Buffer.from(bytes);
  const data = Buffer.concat(regions.map(([at, length]) => whole.subarray(at, at + length)));
  const isBase256 = options.base256Sizes === true;
  if (kind === 'gnu')
    return [...gnuSparse(name, whole.length, regions, data.length, isBase256), data];
  const numbers = regions.flat().map(String);
  const size = String(whole.length);
  const records = {
    'pax-0.0': [
      record('GNU.sparse.size', size),
      record('GNU.sparse.numblocks', String(regions.length)),
      ...numbers.map((text, index) =>
        record(index % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes', text),
      ),
    ],
    'pax-0.1': [
      record('GNU.sparse.size', size),
      record('GNU.sparse.numblocks', String(regions.length)),
      record('GNU.sparse.name', name),
      record('GNU.sparse.map', numbers.join(',')),
    ],
    'pax-1.0': [
      record('GNU.sparse.major', '1'),
      record('GNU.sparse.minor', '0'),
      record('GNU.sparse.name', name),
      record('GNU.sparse.realsize', size),
    ],
  }[kind];
  const map = Buffer.from([String(regions.length), ...numbers, ''].join('\n'));
  const head =
    kind === 'pax-1.0' ? Buffer.concat([map, Buffer.alloc(-map.length & (BLOCK - 1))]) : '';
  const stored = Buffer.concat([Buffer.from(head), data]);
  const all = Buffer.concat(records);
  return [
    header({ name: 'PaxHeaders/member', type: 'x', size: all.length }),
    all,
    header({
      name: kind === 'pax-0.0' ? name : 'GNUSparseFile.0/member',
      type: '0',
      size: stored.length,
      isBase256,
    }),
    stored,
  ];
}

/** The header of type `S`, with four places in it, and the blocks behind it with 21 each. */
function gnuSparse(
  name: string,
  length: number,
  regions: SparseMember['regions'],
  stored: number,
  isBase256: boolean,
): Buffer[] {
  const place = (block: Buffer, at: number, value: number): void => {
    if (isBase256) block.writeUInt8(0x80, at);
    if (isBase256) block.writeBigUInt64BE(BigInt(value), at + 4);
    else block.write(octal(value, 11), at, 'latin1');
  };
  const fill = (block: Buffer, at: number, some: SparseMember['regions']): void => {
    some.flat().forEach((value, index) => {
      place(block, at + 12 * index, value);
    });
  };
  const first = header({ name, type: 'S', size: stored, isBase256, isGnu: true });
  fill(first, 386, regions.slice(0, 4));
  first.writeUInt8(regions.length > 4 ? 1 : 0, 482);
  place(first, 483, length);
  const more: Buffer[] = [];
  for (let at = 4; at < regions.length; at += 21) {
    const block = Buffer.alloc(BLOCK);
    fill(block, 0, regions.slice(at, at + 21));
    block.writeUInt8(regions.length > at + 21 ? 1 : 0, 504);
    more.push(block);
  }
  return [summed(first), ...more];
}

/** What a name field holds of a name that another record gives in full. */
function cut(name: string): Buffer {
  return Buffer.from(name, 'utf8').subarray(0, 99);
}

/** A name as the prefix and name fields hold it. */
function split(name: string): [prefix: string, rest: string] {
  if (Buffer.byteLength(name) <= 100) return ['', name];
  const slash = name.indexOf('/', name.length - 101);
  if (slash <= 0 || slash > 155)
    throw new Error(`no place for the name in a ustar header: ${name}`);
  return [name.slice(0, slash), name.slice(slash + 1)];
}

/** A pax record, whose length counts its own digits. */
function record(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest);
  while (Buffer.byteLength(`${length}${rest}`) !== length) length++;
  return Buffer.from(`${length}${rest}`, 'utf8');
}

interface Header {
  readonly name: string | Buffer;
  readonly prefix?: string;
  readonly type: '0' | 'L' | 'S' | 'x';
  /** Bytes behind the header, without padding. */
  readonly size: number;
  readonly isBase256?: boolean;
  /** GNU's magic and version in place of POSIX's. */
  readonly isGnu?: boolean;
}

const octal = (value: number, digits: number): string =>
  `${value.toString(8).padStart(digits, '0')}\0`;

function header(fields: Header): Buffer {
  const block = Buffer.alloc(BLOCK);
  Buffer.from(fields.name).copy(block, 0, 0, 100);
  block.write(octal(0o644, 7), 100, 'latin1');
  block.write(octal(64, 7), 108, 'latin1');
  block.write(octal(64, 7), 116, 'latin1');
  block.write(octal(fields.size, 11), 124, 'latin1');
  if (fields.isBase256 === true) {
    block.fill(0, 124, 136).writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(fields.size), 128);
  }
  block.write(octal(1_700_000_000, 11), 136, 'latin1');
  block.write(fields.type, 156, 'latin1');
  block.write(fields.isGnu === true ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
  block.write('someone', 265, 'latin1');
  block.write('someone', 297, 'latin1');
  block.write(fields.prefix ?? '', 345, 155, 'utf8');
  return summed(block);
}

/** A header with its checksum. */
function summed(block: Buffer): Buffer {
  block.write(' '.repeat(8), 148, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)} `, 148, 'latin1');
  return block;
}
