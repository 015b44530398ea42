/**
 * Packed little-endian structs declared as tables: field name to kind, in the order of the
 * specification. Offsets are derived and the total is checked when the module loads, so a slip is
 * an error at start-up instead of a field read from the wrong place.
 */

/** A number inside a struct; `base` is where the struct begins in `view`, in bytes. */
export interface NumberField {
  readonly offset: number;
  get(view: DataView, base: number): number;
  set(view: DataView, base: number, value: number): void;
}

/** A run of bytes inside a struct. */
export interface BytesField {
  readonly offset: number;
  readonly size: number;
}

/** A kind of field: its size in bytes, and how to make its accessor once its offset is known. */
export interface Codec<Field> {
  readonly size: number;
  /** The version of the specification in which it appeared; absent where it was always there. */
  readonly since?: number;
  at(offset: number): Field;
}

export const u8: Codec<NumberField> = {
  size: 1,
  at: (offset) => ({
    offset,
    get: (view, base) => view.getUint8(base + offset),
    set: (view, base, value) => {
      view.setUint8(base + offset, value);
    },
  }),
};

export const u16: Codec<NumberField> = {
  size: 2,
  at: (offset) => ({
    offset,
    get: (view, base) => view.getUint16(base + offset, true),
    set: (view, base, value) => {
      view.setUint16(base + offset, value, true);
    },
  }),
};

export const u32: Codec<NumberField> = {
  size: 4,
  at: (offset) => ({
    offset,
    get: (view, base) => view.getUint32(base + offset, true),
    set: (view, base, value) => {
      view.setUint32(base + offset, value, true);
    },
  }),
};

/**
 * An unsigned 64-bit number as a JavaScript number: exact up to 2^53, rounded above. Every reader
 * of one compares it with a limit far below 2^53 before it is used.
 */
export const u64: Codec<NumberField> = {
  size: 8,
  at: (offset) => ({
    offset,
    get: (view, base) =>
      view.getUint32(base + offset + 4, true) * 0x1_0000_0000 + view.getUint32(base + offset, true),
    set: (view, base, value) => {
      view.setUint32(base + offset, value % 0x1_0000_0000, true);
      view.setUint32(base + offset + 4, Math.floor(value / 0x1_0000_0000), true);
    },
  }),
};

/** A signed 64-bit number, exact between -2^53 and 2^53. */
export const i64: Codec<NumberField> = {
  size: 8,
  at: (offset) => ({
    offset,
    get: (view, base) =>
      view.getInt32(base + offset + 4, true) * 0x1_0000_0000 + view.getUint32(base + offset, true),
    set: (view, base, value) => {
      const high = Math.floor(value / 0x1_0000_0000);
      view.setUint32(base + offset, value - high * 0x1_0000_0000, true);
      view.setInt32(base + offset + 4, high, true);
    },
  }),
};

/** `size` bytes that are not a number. */
export function bytes(size: number): Codec<BytesField> {
  return { size, at: (offset) => ({ offset, size }) };
}

/** A field that appeared in `version` of the specification. */
export function since<Field>(version: number, codec: Codec<Field>): Codec<Field> {
  return { ...codec, since: version };
}

interface Age {
  /** The version of the specification in which the field appeared; 0 where it was always there. */
  readonly since: number;
}

type Shape = Record<string, Codec<NumberField | BytesField>>;
type FieldOf<C> = C extends Codec<infer Field> ? Field : never;

/** The fields of a struct by name, and its size in bytes. */
export type Struct<S extends Shape> = { readonly [K in keyof S]: FieldOf<S[K]> & Age } & {
  readonly byteLength: number;
};

/**
 * Lays `shape` out without padding. `size` is the documented size in bytes.
 *
 * @throws RangeError when the fields do not add up to `size`
 */
export function struct<const S extends Shape>(name: string, size: number, shape: S): Struct<S> {
  const fields: Record<string, unknown> = { byteLength: size };
  let offset = 0;
  for (const [key, codec] of Object.entries(shape)) {
    fields[key] = { ...codec.at(offset), since: codec.since ?? 0 };
    offset += codec.size;
  }
  if (offset !== size) throw new RangeError(`${name} is ${offset} bytes, not ${size}`);
  return fields as Struct<S>;
}

/** A view of all the bytes of `array`. */
export function viewOf(array: Uint8Array): DataView {
  return new DataView(array.buffer, array.byteOffset, array.byteLength);
}

/** The bytes of `words`, in the same memory. */
export function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** `value` as four little-endian bytes. */
export function u32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  u32.at(0).set(viewOf(bytes), 0, value);
  return bytes;
}
