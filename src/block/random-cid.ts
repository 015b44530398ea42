import { randomBytes } from 'node:crypto';
import { newCid } from '../vmdk/cid.js';

/** A new CID, random and not `previous`. */
export function randomCid(previous: number | undefined): number {
  return newCid(previous, () => randomBytes(4).readUInt32LE(0));
}
