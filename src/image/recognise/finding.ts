/** What a file is found to be, in words for a sentence about it. */
export interface Finding {
  /** With its article: `a gzip file`. */
  readonly what: string;
  /** What to do, in the imperative. */
  readonly advice: string;
  /** Whether its bytes are those of a disk. */
  readonly isPlainDisk?: true;
}

/** The end of a sentence that begins with the name of the file. */
export function describeFinding({ advice, isPlainDisk, what }: Finding): string {
  return isPlainDisk === true
    ? `is ${what}, a plain disk and no VMDK; ${advice}`
    : `is ${what}; ${advice}`;
}
