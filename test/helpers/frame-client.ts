/**
 * A client of the kernel's protocol in this process: makes requests as the kernel does, has an
 * `Exchange` serve them, and reads the replies. Layouts are the product's own here; test/frames
 * pins those to the kernel's header.
 */
import {
  Attr,
  AttrOut,
  FallocateIn,
  InHeader,
  LseekIn,
  LseekOut,
  OpenIn,
  OutHeader,
  ReadIn,
  SetattrIn,
  WriteIn,
  WriteOut,
} from '../../src/fuse/kernel/abi.js';
import { Exchange } from '../../src/fuse/kernel/exchange.js';
import { Opcode } from '../../src/fuse/kernel/opcodes.js';
import type { FileSystem } from '../../src/fuse/file-system.js';
import { newRequestCounters, RequestCounters } from '../../src/fuse/request-counters.js';
import type { NumberField } from '../../src/binary/struct.js';

/** A reply: 0 or a negative errno, and what follows the header. */
export interface Reply {
  readonly error: number;
  readonly payload: DataView;
}

type Fields = readonly (readonly [NumberField, number])[];

export class FrameClient {
  readonly exchange: Exchange;
  #unique = 0;

  constructor(fileSystem: FileSystem) {
    this.exchange = new Exchange(fileSystem, {
      onlyUser: undefined,
      backingId: undefined,
      postpone: undefined,
      counters: new RequestCounters(newRequestCounters(1), 0),
      log: () => undefined,
    });
  }

  /** Sends a request whose body has `fields` and `data` behind them, and returns its reply. */
  ask(
    opcode: keyof typeof Opcode,
    nodeid: number,
    bodyBytes: number,
    fields: Fields,
    data: Uint8Array = new Uint8Array(0),
  ): Reply {
    const { exchange } = this;
    const view = exchange.requestView;
    const body = InHeader.byteLength;
    const length = body + bodyBytes + data.length;
    exchange.request.fill(0, 0, body + bodyBytes);
    InHeader.len.set(view, 0, length);
    InHeader.opcode.set(view, 0, Opcode[opcode]);
    InHeader.unique.set(view, 0, (this.#unique += 2));
    InHeader.nodeid.set(view, 0, nodeid);
    for (const [field, value] of fields) field.set(view, body, value);
    exchange.request.set(data, body + bodyBytes);
    const reply = exchange.handle(length);
    const answer = exchange.replyView;
    if (OutHeader.len.get(answer, 0) !== reply || OutHeader.unique.get(answer, 0) !== this.#unique)
      throw new Error(`${opcode}: the reply is not to this request`);
    const start = exchange.reply.byteOffset + OutHeader.byteLength;
    return {
      error: OutHeader.error.get(answer, 0) | 0,
      payload: new DataView(exchange.reply.buffer, start, reply - OutHeader.byteLength),
    };
  }

  read(nodeid: number, length: number, offset: number): Buffer {
    const fields: Fields = [
      [ReadIn.offset, offset],
      [ReadIn.size, length],
    ];
    const { error, payload } = this.ask('READ', nodeid, ReadIn.byteLength, fields);
    if (error < 0) throw new Error(`READ: ${error}`);
    return Buffer.from(new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength));
  }

  /** Bytes written, or a negative errno. */
  write(nodeid: number, bytes: Uint8Array, offset: number): number {
    const fields: Fields = [
      [WriteIn.offset, offset],
      [WriteIn.size, bytes.length],
    ];
    const { error, payload } = this.ask('WRITE', nodeid, WriteIn.byteLength, fields, bytes);
    return error < 0 ? error : WriteOut.size.get(payload, 0);
  }

  open(nodeid: number, flags: number): number {
    return this.ask('OPEN', nodeid, OpenIn.byteLength, [[OpenIn.flags, flags]]).error;
  }

  setattr(nodeid: number, valid: number, fields: Fields): number {
    const all: Fields = [[SetattrIn.valid, valid], ...fields];
    return this.ask('SETATTR', nodeid, SetattrIn.byteLength, all).error;
  }

  getattr(nodeid: number): Record<'size' | 'blocks' | 'blksize' | 'mode' | 'mtimeMs', number> {
    const { payload } = this.ask('GETATTR', nodeid, 16, []);
    const get = (field: NumberField): number => field.get(payload, AttrOut.attr.offset);
    return {
      size: get(Attr.size),
      blocks: get(Attr.blocks),
      blksize: get(Attr.blksize),
      mode: get(Attr.mode),
      mtimeMs: get(Attr.mtime) * 1000 + get(Attr.mtimensec) / 1e6,
    };
  }

  /** The offset found, or a negative errno. */
  lseek(nodeid: number, whence: number, offset: number): number {
    const fields: Fields = [
      [LseekIn.offset, offset],
      [LseekIn.whence, whence],
    ];
    const { error, payload } = this.ask('LSEEK', nodeid, LseekIn.byteLength, fields);
    return error < 0 ? error : LseekOut.offset.get(payload, 0);
  }

  fallocate(nodeid: number, mode: number, offset: number, length: number): number {
    const fields: Fields = [
      [FallocateIn.mode, mode],
      [FallocateIn.offset, offset],
      [FallocateIn.length, length],
    ];
    return this.ask('FALLOCATE', nodeid, FallocateIn.byteLength, fields).error;
  }
}
