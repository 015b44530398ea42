/** What a transport needs to know of a mount. */
export interface TransportOptions {
  /** Absolute path of the mountpoint. */
  readonly mountpoint: string;
  /** What `mount` and `df` show as the source: the image. */
  readonly fsname: string;
  readonly readOnly: boolean;
  /** Further options for the transport and the kernel, from `-o`. */
  readonly options: readonly string[];
}

/** A mounted tree. */
export interface Transport {
  readonly name: 'kernel' | 'libfuse';
  /** Threads that serve requests. */
  readonly threads: number;
  /** Whether the kernel reads the disk by itself, so that nobody sees those reads. */
  readonly passthrough: boolean;
  /** Settles when the kernel has ended the connection: unmounted, and the last handle closed. */
  readonly ended: Promise<void>;
}
