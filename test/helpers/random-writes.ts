/** Writes at random places that can be told apart, made the same again from their seed. */

/** `count` distinct block-aligned offsets below `size`, in random order. */
export function placesOf(seed: number, count: number, bytes: number, size: number): number[] {
  let state = seed || 1;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const places = new Set<number>();
  while (places.size < count) places.add(random(Math.floor(size / bytes)) * bytes);
  return [...places];
}

/** The block of write `index`: never zero, and different for each. */
export function blockOf(index: number, bytes: number): Buffer {
  const block = Buffer.alloc(bytes, (index % 255) + 1);
  block.writeUInt32LE(index + 1, 0);
  return block;
}
