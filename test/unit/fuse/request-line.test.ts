import { describe, expect, test } from 'vitest';
import { requestLine } from '../../../src/fuse/kernel/request-line.js';
import { FallocateIn, InHeader, LseekIn, WriteIn } from '../../../src/fuse/kernel/abi.js';
import { NO_REPLY } from '../../../src/fuse/kernel/result.js';
import { Opcode } from '../../../src/fuse/kernel/opcodes.js';

const BODY = InHeader.byteLength;

function request(opcode: number, bodyBytes: number): DataView {
  const view = new DataView(new ArrayBuffer(BODY + bodyBytes));
  InHeader.len.set(view, 0, view.byteLength);
  InHeader.opcode.set(view, 0, opcode);
  InHeader.nodeid.set(view, 0, 2);
  return view;
}

describe('requestLine', () => {
  test('has the range of a request for data, its result and its time', () => {
    const write = request(Opcode.WRITE, WriteIn.byteLength);
    WriteIn.offset.set(write, BODY, 8192);
    WriteIn.size.set(write, BODY, 4096);
    expect(requestLine(write, 8, 0.0354)).toBe('WRITE inode 2, 4096 bytes at 8192: 8, 35 us');
    const punch = request(Opcode.FALLOCATE, FallocateIn.byteLength);
    FallocateIn.length.set(punch, BODY, 512);
    FallocateIn.mode.set(punch, BODY, 3);
    expect(requestLine(punch, 0, 1)).toBe('FALLOCATE inode 2, 512 bytes at 0, mode 3: 0, 1000 us');
    const seek = request(Opcode.LSEEK, LseekIn.byteLength);
    LseekIn.offset.set(seek, BODY, 7);
    LseekIn.whence.set(seek, BODY, 4);
    expect(requestLine(seek, -6, 0)).toBe('LSEEK inode 2 from 7, whence 4: ENXIO, 0 us');
  });

  test('has what there is of others, and of short ones', () => {
    expect(requestLine(request(22, 8), -38, 0)).toBe('opcode 22 inode 2: ENOSYS, 0 us');
    expect(requestLine(request(Opcode.WRITE, 8), -22, 0)).toBe('WRITE inode 2: EINVAL, 0 us');
    const forget = request(Opcode.FORGET, 8);
    expect(requestLine(forget, NO_REPLY, 0)).toBe('FORGET inode 2: no reply, 0 us');
  });
});
