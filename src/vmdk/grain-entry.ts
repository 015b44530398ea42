/**
 * Grain table entries of a hosted sparse extent: one u32 for each grain.
 *
 * 0 leads to the parent (or to zeros where there is none), 1 is a grain of zeros whatever the
 * parent holds, anything else is the sector where the grain begins. Sector 1 can never hold a
 * grain, so 1 is read as zeros even where the header does not announce zeroed grains, as VMware's
 * own open-vmdk does; it is written only where the header does (Virtual Disk Format 5.0, "zeroed
 * grain table entry").
 */

/** The grain was never written: the parent shows through. */
export const GTE_UNALLOCATED = 0;

/** The grain reads as zeros, also over a parent. */
export const GTE_ZEROED = 1;

/** Whether `entry` is the sector of a grain. */
export function isAllocated(entry: number): boolean {
  return entry > GTE_ZEROED;
}
