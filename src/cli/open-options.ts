/** Options of the commands that open an image: what the user allows, and which disk is meant. */
import type { Command } from 'commander';
import type { OpenOptions } from '../block/open-image.js';
import type { OpenPermissions } from '../block/open-policy.js';
import { plainJudge } from '../image/recognise/plain-disk.js';

/** What the user allows, as commander gives it. */
export interface PermissionFlags {
  readonly allowOutside?: true;
  readonly allowDevices?: true;
  readonly force?: true;
}

/** The options of a command that opens an image itself. */
export interface OpenFlags extends PermissionFlags {
  readonly disk?: string;
  readonly flat?: boolean | undefined;
}

/** Adds the options for what is allowed to a command. */
export function addPermissionOptions(command: Command): void {
  command
    .option('--allow-outside', 'open extents and parents outside the folder of the image')
    .option('--allow-devices', 'open extents that are block devices')
    .option('--force', 'open a child although its parent was modified');
}

/** Adds all options to a command. */
export function addOpenOptions(command: Command): void {
  command.option('--disk <disk>', 'which disk of an OVA: its number from 1, or its name');
  addPermissionOptions(command);
}

/** Adds the option that opens a file without a descriptor to a command. */
export function addFlatOption(command: Command): void {
  command.option(
    '--flat',
    'take the file as a plain disk, as a -flat file that has lost its descriptor; one that is recognised as something else needs --force too',
  );
}

/** What `flags` allow. */
export function permissionsOf(flags: PermissionFlags): OpenPermissions {
  return {
    allowOutside: flags.allowOutside === true,
    allowDevices: flags.allowDevices === true,
    force: flags.force === true,
  };
}

/** How an image is opened by `flags`. */
export function openOptions(flags: OpenFlags, readOnly: boolean): OpenOptions {
  const plain = flags.flat === true ? plainJudge(flags.force === true) : undefined;
  return { ...permissionsOf(flags), readOnly, disk: flags.disk, plain };
}
