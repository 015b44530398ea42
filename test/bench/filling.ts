/** What disks are filled with; made the same again every time where that matters. */
import { randomBytes } from 'node:crypto';

/** Bytes of the block that random fillings repeat. */
const RANDOM_BYTES = 16 * 1024 * 1024;

const GRAIN_BYTES = 64 * 1024;

/** A grain takes turns between text and noise; this much of each turn is noise. */
const TURN_BYTES = 4096;
const NOISE_BYTES = 768;

/** What the text and the noise of grains are cut from. */
const STOCK_BYTES = 4 * 1024 * 1024;

/** Different words of the text, and phrases made of them; the first ones are far more frequent. */
const WORDS = 1024;
const PHRASES = 256;
const LETTERS = 'etaoinshrdlucmfwygpbvkxqjz';

/** Random bytes, the same block again and again, for speed. */
export function* randomFilling(bytes: number): Generator<Uint8Array, void, undefined> {
  const block = randomBytes(Math.min(RANDOM_BYTES, bytes));
  for (let left = bytes; left > 0; left -= block.length) yield block.subarray(0, left);
}

/**
 * Bytes that compress as a disk of programs and documents does, to less than 0.4 of their size; no
 * two grains are the same.
 */
export function* compressibleFilling(bytes: number): Generator<Uint8Array, void, undefined> {
  const random = randomNumbers(1);
  const text = Buffer.from(textOf(STOCK_BYTES, random), 'latin1');
  const noise = Buffer.from(Array.from({ length: STOCK_BYTES / 4 }, () => random(256)));
  for (let left = bytes; left > 0; left -= GRAIN_BYTES) {
    const grain = Buffer.alloc(Math.min(GRAIN_BYTES, left));
    for (let at = 0; at < grain.length; at += TURN_BYTES) {
      const textAt = random(text.length - TURN_BYTES);
      const noiseAt = random(noise.length - NOISE_BYTES);
      text.copy(grain, at, textAt, textAt + TURN_BYTES - NOISE_BYTES);
      noise.copy(grain, at + TURN_BYTES - NOISE_BYTES, noiseAt, noiseAt + NOISE_BYTES);
    }
    yield grain;
  }
}

/** `bytes` letters, blanks and line ends: words, and now and then a phrase that comes again. */
function textOf(bytes: number, random: (below: number) => number): string {
  const any = (list: ArrayLike<string>): string => list[random(1 + random(list.length))] ?? '';
  const joined = (length: number, separator: string, part: () => string): string =>
    Array.from({ length }, part).join(separator);
  const words = Array.from({ length: WORDS }, () => joined(2 + random(8), '', () => any(LETTERS)));
  const phrases = Array.from({ length: PHRASES }, () =>
    joined(3 + random(8), ' ', () => any(words)),
  );
  let text = '';
  while (text.length < bytes)
    text += `${any(words)} ${any(phrases)}${random(4) === 0 ? '\n' : ' '}`;
  return text.slice(0, bytes);
}

/** The numbers from 0 to `count` - 1 in an order without order, always the same one. */
export function shuffled(count: number): number[] {
  const random = randomNumbers(2);
  const numbers = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = random(last + 1);
    [numbers[last], numbers[other]] = [numbers[other] ?? 0, numbers[last] ?? 0];
  }
  return numbers;
}

/** Pseudo-random integers from 0 up to what is asked for (xorshift). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  };
}
