import { threadId } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { newAllocationRecord, newRecordEnds } from '../../../src/block/allocation-record.js';
import type { GrainAllocator } from '../../../src/block/grain-allocator.js';
import type { HostFile } from '../../../src/block/host-file.js';
import { LayerState, newLayerState } from '../../../src/block/layer-state.js';
import type { SeSparseHeader } from '../../../src/vmdk/se-sparse-header.js';

const GRAIN = 4096;
const BITMAP = 8192;
const GRAINS = 65_536;

test('seSparse: a byte of the bitmap is changed with the mutex held, as free grains are marked', () => {
  const state = new LayerState(newLayerState());
  const bytes = Buffer.alloc(GRAINS);
  bytes.writeUInt8(0b0101, BITMAP);
  const held: boolean[] = [];
  const file = {
    read(target: Uint8Array, targetOffset: number, length: number, position: number) {
      held.push(state.mutex.isHeldBy(threadId));
      target.set(bytes.subarray(position, position + length), targetOffset);
    },
    write(source: Uint8Array, sourceOffset: number, length: number, position: number) {
      held.push(state.mutex.isHeldBy(threadId));
      bytes.set(source.subarray(sourceOffset, sourceOffset + length), position);
    },
  };
  const header = {
    grainBytes: GRAIN,
    freeBitmap: { offset: BITMAP, length: 4096 },
    grains: { offset: GRAINS, length: 100 * GRAIN },
  };
  const written = newRecordEnds(GRAINS + 4 * GRAIN, 0);
  const allocator = { end: GRAINS + 17 * GRAIN, tablesEnd: 0 };
  const record = newAllocationRecord(
    { kind: 'seSparse', written, header: header as unknown as SeSparseHeader },
    file as unknown as HostFile,
    allocator as unknown as GrainAllocator,
    state,
  );
  expect(record.write()).toBe(true);
  // Grains 4 to 16, and what the first byte had besides.
  expect([...bytes.subarray(BITMAP, BITMAP + 4)]).toEqual([0b1111_0101, 0xff, 1, 0]);
  expect(held).toEqual([true, true]);
  expect(state.mutex.isHeldBy(threadId)).toBe(false);
  expect(record.write()).toBe(false);
});
