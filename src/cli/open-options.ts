/** Options of the commands that open an image: what the user allows, and which disk is meant. */
import type { Command } from 'commander';
import type { OpenOptions } from '../block/open-image.js';

/** The options as commander gives them. */
export interface OpenFlags {
  readonly disk?: string;
  readonly allowOutside?: true;
  readonly allowDevices?: true;
  readonly force?: true;
}

/** Adds the options to a command. */
export function addOpenOptions(command: Command): Command {
  return command
    .option('--disk <disk>', 'which disk of an OVA: its number from 1, or its name')
    .option('--allow-outside', 'open extents and parents outside the folder of the image')
    .option('--allow-devices', 'open extents that are block devices')
    .option('--force', 'open a child although its parent was modified');
}

/** How an image is opened by `flags`. */
export function openOptions(flags: OpenFlags, readOnly: boolean): OpenOptions {
  return {
    readOnly,
    disk: flags.disk,
    allowOutside: flags.allowOutside === true,
    allowDevices: flags.allowDevices === true,
    force: flags.force === true,
  };
}
