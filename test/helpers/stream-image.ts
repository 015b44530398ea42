/** A stream that is an image by itself. */
import { contentOf } from './made-disk.js';
import {
  streamDescriptor,
  writeStreamFile,
  type StreamPlaces,
  type StreamShape,
} from './stream-file.js';

const SECTOR = 512;

/** Makes a stream at `image`, with a descriptor that has another name; what it holds. */
export function makeStream(
  image: string,
  shape: StreamShape,
): { places: StreamPlaces; content: Buffer } {
  const descriptor = streamDescriptor(shape.sectors, 'call-me-stream.vmdk');
  const places = writeStreamFile(image, { ...shape, descriptor });
  const { grainSectors = 128, grains = new Map<number, Buffer>(), sectors } = shape;
  return { places, content: contentOf(sectors, grainSectors * SECTOR, grains) };
}
