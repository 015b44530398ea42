/** What a server is asked to mount; travels as JSON to the process that serves in the background. */
import type { OpenOptions } from '../block/open-image.js';
import type { OverlayPlace } from '../block/overlay.js';
import type { TransportName } from './mount-options.js';

/** What to mount where; absolute paths. */
export interface MountRequest {
  readonly image: string;
  readonly mountpoint: string;
  readonly open: OpenOptions;
  /** Whether the image is a plain file, without a descriptor. */
  readonly flat: boolean;
  /** Where writes go instead of to the image; absolute paths too. */
  readonly overlay: OverlayPlace | undefined;
  readonly transport: TransportName;
  /** Threads that serve requests. */
  readonly workers: number;
  readonly writebackCache: boolean;
  readonly passthrough: boolean;
  readonly debug: boolean;
  /** The file that is to name the server's process. */
  readonly pidFile: string | undefined;
  /** Where the server logs once it is ready; undefined for the terminal or the system's log. */
  readonly log: string | undefined;
  /** Options for the transport and the kernel. */
  readonly passed: readonly string[];
}
