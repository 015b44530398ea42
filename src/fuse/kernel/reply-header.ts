/** The header of every reply. */
import { InHeader, OutHeader } from './abi.js';

const { error, len } = OutHeader;
const TO = OutHeader.unique.offset;
const FROM = InHeader.unique.offset;

/**
 * Writes the header of the reply to `request`.
 *
 * @param length of the whole reply, in bytes
 * @param errno 0 or negative
 */
export function writeReplyHeader(
  reply: DataView,
  request: DataView,
  length: number,
  errno: number,
): void {
  len.set(reply, 0, length);
  error.set(reply, 0, errno);
  // Echoed as it came: a number would not hold all of its bits.
  reply.setUint32(TO, request.getUint32(FROM, true), true);
  reply.setUint32(TO + 4, request.getUint32(FROM + 4, true), true);
}
