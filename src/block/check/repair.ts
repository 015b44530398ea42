/**
 * Mending an image: in phases, a barrier after each, so that wherever it is cut off nothing leads to
 * what is not there yet. As long as something in a file is wrong that cannot be mended, it keeps its
 * mark of not being closed, and space that nothing leads to: that may be what is missing elsewhere.
 */
import { HostFile } from '../host-file.js';
import type { OpenedFile } from '../opened-files.js';
import { PHASES, type Problem, type Problems, type Repair } from './problem.js';

/** The problems of `file` that `repair` mends. */
export function mendable(problems: Problems, file: string): Problem[] {
  const isSound = problems.errorsIn(file, true) === 0 && problems.dropped === 0;
  return problems.list.filter(
    (problem) =>
      problem.file === file &&
      problem.repairs !== undefined &&
      (isSound || (problem.kind !== 'unclean' && problem.kind !== 'leaked')),
  );
}

/**
 * Carries out what mends `problems`, all of the file `opened`, which is open for writing.
 *
 * @throws the system's error; what was mended until then stays
 */
export function mend(opened: OpenedFile, problems: readonly Problem[]): void {
  const file = new HostFile(opened);
  const repairs = problems.flatMap((problem) => problem.repairs ?? []);
  for (const phase of PHASES) {
    const now = repairs.filter((repair) => repair.phase === phase);
    if (now.length === 0) continue;
    for (const repair of now) carryOut(file, repair);
    file.sync();
  }
}

function carryOut(file: HostFile, repair: Repair): void {
  for (const { bytes, position } of repair.writes ?? []) {
    file.write(bytes, 0, bytes.length, position);
  }
  for (const { length, position } of repair.punches ?? []) file.punch(position, length);
  if (repair.length !== undefined) file.setLength(repair.length);
}
