/** The header of a tar archive of any kind, also from before POSIX: its checksum tells. */
const BLOCK_BYTES = 512;
const CHECKSUM_OFFSET = 148;
const CHECKSUM_BYTES = 8;
const SPACE = 0x20;

/** Whether a file that begins with `head` begins as a tar archive does. */
export function isTarHeader(head: Buffer): boolean {
  if (head.length < BLOCK_BYTES || head[0] === 0) return false;
  const end = CHECKSUM_OFFSET + CHECKSUM_BYTES;
  const digits = /^ *([0-7]{4,7})[ \0]/.exec(head.toString('latin1', CHECKSUM_OFFSET, end))?.[1];
  if (digits === undefined) return false;
  const block = Buffer.from(head.subarray(0, BLOCK_BYTES)).fill(SPACE, CHECKSUM_OFFSET, end);
  const sum = block.reduce((total, byte) => total + byte, 0);
  return sum === Number.parseInt(digits, 8);
}
