/**
 * Paths as text. On Linux a path is bytes, and those need not be UTF-8. A byte that is no part of a
 * character stands as a lone surrogate, 0xE9 as U+DCE9 (as in Python's PEP 383), so text and bytes lead
 * to each other, and text can be joined, compared and sent as JSON.
 */
import { isUtf8 } from 'node:buffer';

/** Where the stand-ins for bytes begin; only bytes from 0x80 on have one. */
const STAND_IN = 0xdc00;

/** Matches a stand-in, and no half of a character that takes two. */
const STAND_INS = /[\udc80-\udcff]/u;

/** The longest character in UTF-8, bytes. */
const CHARACTER_BYTES_MAX = 4;

/** Whether `path` is text all through, so that it can be given to the system as it is. */
export function isPlainText(path: string): boolean {
  return !STAND_INS.test(path);
}

/** The text of a path that the system gave as bytes. */
export function pathOfBytes(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const length = characterAt(bytes, at);
    if (length === 0) text += String.fromCharCode(STAND_IN + (bytes[at] ?? 0));
    else text += bytes.toString('utf8', at, at + length);
    at += Math.max(1, length);
  }
  return text;
}

/** The bytes of a path, those that stand-ins stand for included. */
export function bytesOfPath(path: string): Buffer {
  const parts = path.split(new RegExp(`(${STAND_INS.source})`, 'u'));
  return Buffer.concat(
    parts.map((part) =>
      isPlainText(part) ? Buffer.from(part, 'utf8') : Buffer.of(part.charCodeAt(0) - STAND_IN),
    ),
  );
}

/** `text` for people: a byte that is no text as `\xE9`. */
export function visiblePath(text: string): string {
  return text.replaceAll(new RegExp(STAND_INS, 'gu'), (standIn) => {
    const byte = standIn.charCodeAt(0) - STAND_IN;
    return `\\x${byte.toString(16).toUpperCase()}`;
  });
}

/** Bytes of the character that begins at `at`; 0 where none does. */
function characterAt(bytes: Buffer, at: number): number {
  for (let length = 1; length <= CHARACTER_BYTES_MAX && at + length <= bytes.length; length++) {
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  }
  return 0;
}
