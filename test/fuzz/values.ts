/** Numbers that are likely to be wrong somewhere: borders of types, of files, of other structures. */
import fc from 'fast-check';
import type { Edit } from './edits.js';
import type { Field, SeedPlaces } from './seed-places.js';

const SECTOR = 512;

/** Places of an image where something begins or ends, in bytes. */
export function bordersOf(places: SeedPlaces): number[] {
  const { compressed, fields, files, metadata, tarHeaders } = places;
  const stretches = [...metadata, ...compressed.slice(0, 20), ...tarHeaders];
  const all = [
    ...stretches.flatMap(({ at, length }) => [at, at + length]),
    ...fields.map(({ at }) => Math.floor(at / SECTOR) * SECTOR),
    ...files.map(({ length }) => length),
  ];
  return [...new Set(all)].sort((one, other) => one - other);
}

/** A number of at most 64 bits; negative ones are meant as their lowest bits. */
export function interesting(borders: readonly number[]): fc.Arbitrary<bigint> {
  const delta = fc.constantFrom(0n, 0n, 1n, -1n);
  const border = fc.constantFrom(...borders);
  return fc.oneof(
    fc.constantFrom(0n, 1n, 2n, 3n, 4n, 8n, 16n, 128n, 512n, -1n, -2n, -512n),
    fc.tuple(fc.nat(64), delta).map(([bits, more]) => (1n << BigInt(bits)) + more),
    fc.tuple(border, delta).map(([at, more]) => BigInt(Math.floor(at / SECTOR)) + more),
    fc.tuple(border, delta).map(([at, more]) => BigInt(at) + more),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.bigInt({ min: 0n, max: 100_000n }),
    // An entry of a seSparse table: a kind above the index of a grain.
    fc
      .tuple(fc.nat(15), fc.constantFrom(0, 1, 5, 8, 4095), fc.constantFrom(0, 0, 1, 2 ** 31))
      .map(([kind, low, high]) => (BigInt(kind) << 60n) | (BigInt(low) << 48n) | BigInt(high)),
  );
}

/** A field with another value. */
export function poked({ at, file, size }: Field, value: bigint): Edit {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return { kind: 'poke', file, at, hex: bytes.subarray(0, size).toString('hex') };
}
