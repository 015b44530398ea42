/** A request and what became of it, as one line of the debug log. */
import { getSystemErrorName } from 'node:util';
import { FallocateIn, InHeader, LseekIn, ReadIn, WriteIn } from './abi.js';
import { Opcode } from './opcodes.js';
import { NO_REPLY } from './result.js';

const BODY = InHeader.byteLength;
const { len, nodeid, opcode } = InHeader;

/** Names by opcode. */
const NAMES = new Map<number, string>(Object.entries(Opcode).map(([name, code]) => [code, name]));

/**
 * @param request the whole request, which may be shorter than its operation asks for
 * @param result count of bytes in the reply, a negative errno, or NO_REPLY
 * @param milliseconds that serving it took
 */
export function requestLine(request: DataView, result: number, milliseconds: number): string {
  const code = opcode.get(request, 0);
  const name = NAMES.get(code) ?? `opcode ${code}`;
  const range = rangeOf(code, request);
  return `${name} inode ${nodeid.get(request, 0)}${range}: ${outcomeOf(result)}, ${Math.round(milliseconds * 1000)} us`;
}

function outcomeOf(result: number): string {
  if (result === NO_REPLY) return 'no reply';
  return result < 0 ? getSystemErrorName(result) : String(result);
}

function rangeOf(code: number, request: DataView): string {
  // The buffer is longer than what came in.
  if (len.get(request, 0) < BODY + LseekIn.byteLength) return '';
  switch (code) {
    case Opcode.READ:
      return bytesAt(ReadIn.size.get(request, BODY), ReadIn.offset.get(request, BODY));
    case Opcode.WRITE:
      return bytesAt(WriteIn.size.get(request, BODY), WriteIn.offset.get(request, BODY));
    case Opcode.FALLOCATE: {
      const length = FallocateIn.length.get(request, BODY);
      const range = bytesAt(length, FallocateIn.offset.get(request, BODY));
      return `${range}, mode ${FallocateIn.mode.get(request, BODY)}`;
    }
    case Opcode.LSEEK: {
      const whence = LseekIn.whence.get(request, BODY);
      return ` from ${LseekIn.offset.get(request, BODY)}, whence ${whence}`;
    }
    default:
      return '';
  }
}

function bytesAt(length: number, offset: number): string {
  return `, ${length} bytes at ${offset}`;
}
