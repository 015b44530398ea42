/** What the fuzzer tries: a seed, edits that damage it, and how it is used then. */
import fc from 'fast-check';
import type { Edit } from './edits.js';
import type { Field, Stretch } from './seed-places.js';
import type { Seed } from './seeds.js';
import { resizedTexts, textEdit } from './text-edits.js';
import { bordersOf, interesting, poked } from './values.js';

/** What is done with a disk that opens; `at` is a share of the disk, lengths in bytes. */
export interface Step {
  readonly kind: 'write' | 'zero' | 'flush';
  readonly at: number;
  readonly length: number;
}

/** Everything that makes a case; plain data. */
export interface FuzzCase {
  readonly seed: string;
  readonly edits: readonly Edit[];
  readonly steps: readonly Step[];
  readonly force: boolean;
  readonly dropChangeTracking: boolean;
  /** Bytes for grain tables; undefined for what is usual. */
  readonly tableMemory: number | undefined;
}

type Edits = fc.Arbitrary<readonly Edit[]>;

const single = (edit: fc.Arbitrary<Edit>): Edits => edit.map((each) => [each]);

const hexBytes = (maxLength: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: 1, maxLength }).map((bytes) => Buffer.from(bytes).toString('hex'));

/** Random bytes somewhere in one of `stretches`. */
function noise(stretches: readonly Stretch[]): Edits {
  const where = fc.tuple(fc.constantFrom(...stretches), fc.nat(2 ** 20), hexBytes(24));
  return where.map(([{ at, file, length }, offset, hex]) => [
    { kind: 'poke', file, at: at + (offset % Math.max(1, length)), hex },
  ]);
}

/** The lengths that a file is cut or grown to. */
function lengths(seed: Seed, borders: readonly number[]): Edits {
  const { files } = seed.places;
  const length = fc.oneof(
    fc.tuple(fc.constantFrom(...borders), fc.constantFrom(-1, 0, 0, 1)).map(([at, d]) => at + d),
    fc.tuple(fc.nat(44), fc.constantFrom(-1, 0, 1)).map(([bits, d]) => 2 ** bits + d),
    fc.nat(Math.max(...files.map((file) => file.length)) + 1000),
  );
  return fc
    .tuple(fc.constantFrom(...files), length)
    .map(([{ name }, bytes]) => [{ kind: 'length', file: name, length: bytes }]);
}

function splices(seed: Seed, seeds: readonly Seed[], borders: readonly number[]): Edits {
  return fc
    .record({
      other: fc.constantFrom(...seeds),
      from: fc.nat(9),
      start: fc.oneof(fc.constant(0), fc.nat(2 ** 17)),
      sectors: fc.boolean(),
      length: fc.constantFrom(4, 8, 16, 512, 2048, 4096, 65536),
      at: fc.oneof(fc.constantFrom(...borders), fc.constantFrom(0, 512, 2048)),
      file: fc.constantFrom(...seed.files.map(({ name }) => name)),
    })
    .map(({ at, file, from, length, other, sectors, start }) => {
      const source = other.files[from % other.files.length]?.name ?? '';
      const begin = sectors ? Math.floor(start / 512) * 512 : start;
      return [{ kind: 'splice', file, at, seed: other.name, from: source, start: begin, length }];
    });
}

/**
 * A row of numbers over a directory, a table, or anything behind. Each table that a directory leads to
 * takes its time when the image is opened; more of them would only take longer.
 */
function fills(fields: readonly Field[], value: fc.Arbitrary<bigint>): Edits {
  return fc
    .record({
      field: fc.constantFrom(...fields),
      size: fc.constantFrom(4 as const, 4 as const, 8 as const),
      count: fc.constantFrom(2, 16, 128, 512, 4096, 32768),
      first: value,
      step: fc.oneof(fc.constantFrom(0n, 1n, 2n, 4n, 8n, 16n, 32n, -1n), value),
    })
    .map(({ count, field, first, size, step }) => {
      const { at, file } = field;
      const row = { size, count, first: first.toString(), step: step.toString() };
      return [{ kind: 'fill', file, at, ...row }];
    });
}

/** Another size in all headers and extent lines, so that one is not held against the other. */
function resizes(seed: Seed): Edits {
  const capacities = seed.places.fields.filter(({ name }) =>
    ['capacity', 'numSectors', 'word 2', 'word 25'].includes(name),
  );
  const directories = seed.places.fields.filter(({ name }) => name === 'numGDEntries');
  const sectors = fc
    .tuple(fc.integer({ min: 0, max: 46 }), fc.constantFrom(-1n, 0n, 0n, 1n, 4095n))
    .map(([bits, more]) => (1n << BigInt(bits)) + more);
  const grown = fc.option(
    fc.nat(42).map((bits) => 2 ** bits),
    { nil: undefined },
  );
  return fc.tuple(sectors, grown).map(([size, length]) => [
    ...capacities.map((field) => poked(field, size)),
    ...directories.map((field) => poked(field, 0xffff_ffffn)),
    ...resizedTexts(seed.places.texts, size),
    ...(length === undefined
      ? []
      : seed.files.map(({ name }): Edit => ({
          kind: 'length',
          file: name,
          length: Math.max(
            length,
            seed.places.files.find((file) => file.name === name)?.length ?? 0,
          ),
        }))),
  ]);
}

const TAR_FIELDS: readonly (readonly [at: number, length: number])[] = [
  ...([
    [0, 100],
    [100, 8],
    [108, 8],
    [124, 12],
    [124, 12],
    [124, 12],
    [136, 12],
  ] as const),
  ...([
    [156, 1],
    [156, 1],
    [157, 100],
    [257, 8],
    [329, 8],
    [345, 155],
    [475, 1],
  ] as const),
];

const TAR_VALUES = [
  ...['0', '1', '00000001000', '77777777777', '37777777777', '-1', '99999999999', ' ', '', 'zzz'],
  ...['x', 'g', 'L', 'K', '5', '7', 'S', '\u0000', 'disk.vmdk', 'disk.vmdk/', '\u00ff'.repeat(12)],
  ...[
    `\u0080${'\u0000'.repeat(9)}\u0010\u0000`,
    `\u0080${'\u00ff'.repeat(11)}`,
    '\u00fe',
    '\u0080',
  ],
  ...[`\u00ff${'\u00ff'.repeat(10)}\u0000`, '../outside/secret.vmdk', 'x.VMDK', '1.vmdk'],
];

/** A header of an archive with another value, and a checksum that mostly fits. */
function tarHeaders(headers: readonly Stretch[]): Edits {
  return fc
    .tuple(
      fc.constantFrom(...headers),
      fc.constantFrom(...TAR_FIELDS),
      fc.constantFrom(...TAR_VALUES),
      fc.nat(9),
    )
    .map(([{ at, file }, [offset, length], value, luck]) => {
      const text = Buffer.from(value.slice(0, length).padEnd(length, '\0'), 'latin1');
      const edit: Edit = { kind: 'poke', file, at: at + offset, hex: text.toString('hex') };
      return luck === 0 ? [edit] : [edit, { kind: 'checksum', file, at }];
    });
}

const RECORDS = [
  ...['12 size=1e5\n', '11 size=-1\n', '12 size=1.5\n', '11 size=\u0000\n', '17 size=Infinity\n'],
  ...['30 size=99999999999999999999\n', '13 path=a/b\n', '9 path=\n', '99999999999 path=x\n'],
  ...['-1 path=x\n', '\n\n\n', 'path=x\n', '16 mtime=9e99\n', '0 \n', '13 path=\u0000\u0000\n'],
];

function tarRecords(records: readonly Stretch[]): Edits {
  return fc
    .tuple(fc.constantFrom(...records), fc.nat(60), fc.constantFrom(...RECORDS))
    .map(([{ at, file }, offset, text]) => {
      const hex = Buffer.from(text, 'latin1').toString('hex');
      return [{ kind: 'poke', file, at: at + (offset > 30 ? 0 : offset), hex }];
    });
}

/** The ways in which a seed can be damaged, each as often as its weight says. */
function damages(seed: Seed, seeds: readonly Seed[]): Edits {
  const { compressed, fields, metadata, tarHeaders: headers, tarRecords: records } = seed.places;
  const borders = bordersOf(seed.places);
  const value = interesting(borders);
  const options: { weight: number; arbitrary: Edits }[] = [
    { weight: 3, arbitrary: noise(metadata) },
    { weight: 4, arbitrary: lengths(seed, borders) },
    { weight: 2, arbitrary: splices(seed, seeds, borders) },
    { weight: 3, arbitrary: resizes(seed) },
  ];
  const add = (weight: number, list: readonly unknown[], arbitrary: () => Edits): void => {
    if (list.length > 0) options.push({ weight, arbitrary: arbitrary() });
  };
  add(14, fields, () =>
    single(fc.tuple(fc.constantFrom(...fields), value).map(([field, n]) => poked(field, n))),
  );
  add(1, fields, () => fills(fields, value));
  add(8, seed.places.texts, () => single(textEdit(seed.places.texts)));
  add(4, compressed, () => noise(compressed));
  add(10, headers, () => tarHeaders(headers));
  add(6, records, () => tarRecords(records));
  return fc.oneof(...options);
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('write' as const, 'write' as const, 'zero' as const, 'flush' as const),
  at: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
  length: fc.constantFrom(1, 512, 4096, 70000, 1_000_000),
});

/** Cases of all seeds. */
export function fuzzCases(seeds: readonly Seed[]): fc.Arbitrary<FuzzCase> {
  const ofSeed = seeds.map((seed) =>
    fc.record({
      seed: fc.constant(seed.name),
      edits: fc
        .array(damages(seed, seeds), { minLength: 1, maxLength: 3, size: 'max' })
        .map((lists) => lists.flat()),
      steps: fc.array(step, { maxLength: 6 }),
      force: fc.boolean(),
      dropChangeTracking: fc.boolean(),
      tableMemory: fc.constantFrom(undefined, undefined, 1),
    }),
  );
  return fc.oneof(...ofSeed);
}
