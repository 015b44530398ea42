/** `vmdkfs mount IMAGE MOUNTPOINT`, also without the word `mount`, as fstab calls it. */
import { fileURLToPath } from 'node:url';
import { Option, type Command } from 'commander';
import { absolutePath } from '../os/host-fs.js';
import type { OpenOptions } from '../block/open-image.js';
import { serveInBackground } from '../mount/background.js';
import { leaveTerminal } from '../mount/last-words.js';
import { UsageError } from '../mount/mount-error.js';
import {
  MOUNT_OPTIONS,
  parseMountOptions,
  parseWorkers,
  TRANSPORTS,
  WORKERS_DEFAULT,
  type TransportName,
} from '../mount/mount-options.js';
import type { MountRequest } from '../mount/mount-request.js';
import { serve } from '../mount/session.js';
import { addFlatOption, addOpenOptions, openOptions, type OpenFlags } from './open-options.js';
import { complain } from './output.js';
import { addOverlayOptions, overlayOf, type OverlayFlags } from './overlay-options.js';
import { addQuietOption, printNotices, type QuietFlags } from './report.js';
import {
  addServiceOptions,
  ReadyDescriptor,
  serviceFiles,
  type ServiceFlags,
} from './service-options.js';

/** The command that is meant where none is named. */
export const DEFAULT_COMMAND = 'mount';

interface MountFlags extends OpenFlags, OverlayFlags, QuietFlags, ServiceFlags {
  readonly option?: readonly string[];
  readonly foreground?: true;
  readonly debug?: true;
  readonly readOnly?: true;
  readonly transport: TransportName;
  readonly workers?: number;
  readonly dropChangeTracking?: true;
  /** Commander's way to say `--no-lock`. */
  readonly lock: boolean;
}

/** Adds the command to the program; it is the default one. */
export function addMountCommand(program: Command): void {
  const command = program
    .command(DEFAULT_COMMAND, { isDefault: true })
    .summary('mount an image as MOUNTPOINT/disk.raw')
    .description(
      'Mount a VMDK image: MOUNTPOINT/disk.raw is the whole disk as one raw file, MOUNTPOINT/p1.raw and so on are its partitions, for reading and writing. Serves in the background and returns when the mount answers.',
    )
    .argument(
      '<image>',
      'the VMDK file, the descriptor of a split disk, or an OVA with a disk in it',
    )
    .argument('<mountpoint>', 'an empty directory')
    .addOption(
      new Option('-o, --option <list>', 'mount options, separated by commas')
        .choices(MOUNT_OPTIONS)
        .argParser((value: string, list: readonly string[] | undefined) => [
          ...(list ?? []),
          value,
        ]),
    )
    .option('-r, --read-only', 'the same as -o ro')
    .option('-f, --foreground', 'serve in the foreground')
    .option('-d, --debug', 'print debug lines (DEBUG=vmdkfs:*); implies -f')
    .addOption(
      new Option('--transport <name>', 'how to talk to the kernel')
        .choices(TRANSPORTS)
        .default('auto'),
    )
    .option(
      '--workers <n>',
      `threads that serve requests (default: ${WORKERS_DEFAULT})`,
      parseWorkers,
    )
    .option(
      '--drop-change-tracking',
      'write to an image whose changes are tracked, and end the tracking',
    )
    .option('--no-lock', 'do not keep other programs from using the image at the same time')
    .action(mount);
  addQuietOption(command);
  addOverlayOptions(command);
  addServiceOptions(command);
  addOpenOptions(command);
  addFlatOption(command);
}

async function mount(image: string, mountpoint: string, flags: MountFlags): Promise<void> {
  const options = parseMountOptions(flags.option ?? []);
  const transport = options.transport ?? flags.transport;
  if (options.writebackCache && transport === 'libfuse') {
    throw new UsageError('writeback_cache needs the kernel transport');
  }
  const readyDescriptor = ReadyDescriptor.of(flags);
  const isDebug = flags.debug === true || options.debug;
  const open = merge(options.open, flags);
  const flat = options.flat || flags.flat === true;
  const request: MountRequest = {
    image: absolutePath(image),
    mountpoint: absolutePath(mountpoint),
    open,
    flat,
    overlay: overlayOf(options, flags, open),
    transport,
    workers: options.workers ?? flags.workers ?? WORKERS_DEFAULT,
    writebackCache: options.writebackCache,
    passthrough: options.passthrough,
    debug: isDebug,
    ...serviceFiles(options, flags),
    passed: options.passed,
  };
  if (flags.foreground === true || isDebug) {
    await serveHere(request, flags, readyDescriptor);
    return;
  }
  await serveApart(request, flags, readyDescriptor);
}

async function serveApart(
  request: MountRequest,
  flags: QuietFlags,
  readyDescriptor: ReadyDescriptor | undefined,
): Promise<void> {
  const program = fileURLToPath(new URL('./server-process.js', import.meta.url));
  const result = await serveInBackground(request, program);
  if (result.exitCode !== 0 || flags.quiet !== true) complain(...result.lines);
  if (result.exitCode === 0) readyDescriptor?.say();
  process.exitCode = result.exitCode;
}

async function serveHere(
  request: MountRequest,
  flags: QuietFlags,
  readyDescriptor: ReadyDescriptor | undefined,
): Promise<void> {
  await serve(request, ({ mountpoint, notices }) => {
    printNotices(flags, notices);
    if (request.log !== undefined) leaveTerminal(mountpoint, request.log);
    readyDescriptor?.say();
  });
}

/** What either form of an option asks for. */
function merge(options: OpenOptions, flags: MountFlags): OpenOptions {
  const readOnly = options.readOnly || flags.readOnly === true;
  // The server makes its own judge of a plain file.
  const long = openOptions({ ...flags, flat: undefined }, readOnly);
  return {
    ...long,
    disk: options.disk ?? long.disk,
    allowOutside: options.allowOutside === true || long.allowOutside === true,
    allowDevices: options.allowDevices === true || long.allowDevices === true,
    force: options.force === true || long.force === true,
    lock: options.lock === true && flags.lock,
    dropChangeTracking: options.dropChangeTracking === true || flags.dropChangeTracking === true,
  };
}
