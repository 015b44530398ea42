/** The results as text: a line for each measurement, a Markdown table at the end. */
import type { Job } from './jobs.js';
import type { Measurement } from './measure.js';
import { median, medianRatio } from './statistics.js';
import { SUBJECT_NAMES, type SubjectName } from './subjects.js';

const RATIOS: readonly (readonly [SubjectName, SubjectName])[] = [
  ['vmdkfs', 'qemu'],
  ['vmdkfs', 'floor'],
];

/** `run 1: sequential read 1 MiB: qemu: 1234 MB/s`. */
export function measurementLine({ job, rate, run, subject }: Measurement): string {
  return `run ${run + 1}: ${job.name}: ${subject}: ${formatRate(rate)} ${job.unit}`;
}

/**
 * A Markdown table of medians, as prettier formats it; a line for each job, a column for each
 * subject that was measured. What was not measured is `-`.
 */
export function resultTable(measurements: readonly Measurement[]): string {
  const names = SUBJECT_NAMES.filter((name) =>
    measurements.some(({ subject }) => subject === name),
  );
  const ratios = RATIOS.filter((pair) => pair.every((name) => names.includes(name)));
  const header = ['job', 'unit', ...names, ...ratios.map((pair) => pair.join(' / '))];
  const jobs = [...new Set(measurements.map(({ job }) => job))];
  const rows = jobs.map((job) => {
    const rates = (name: SubjectName): number[] => ratesOf(measurements, job, name);
    return [
      job.name,
      job.unit,
      ...names.map((name) => cell([rates(name)], () => formatRate(median(rates(name))))),
      ...ratios.map(([top, bottom]) => {
        const sides = [rates(top), rates(bottom)] as const;
        return cell(sides, () => medianRatio(...sides).toFixed(2));
      }),
    ];
  });
  return markdownTable([header, ...rows]);
}

/** In the order of the runs. */
function ratesOf(measurements: readonly Measurement[], job: Job, subject: SubjectName): number[] {
  return measurements
    .filter((one) => one.job === job && one.subject === subject)
    .map(({ rate }) => rate);
}

function cell(needed: readonly (readonly number[])[], text: () => string): string {
  return needed.some((rates) => rates.length === 0) ? '-' : text();
}

function formatRate(rate: number): string {
  return rate < 100 ? rate.toPrecision(3) : rate.toFixed(0);
}

/** Text to the left in the first two columns, numbers to the right in the others. */
function markdownTable(rows: readonly (readonly string[])[]): string {
  const [header = [], ...body] = rows;
  const widths = header.map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const isNumber = (column: number): boolean => column >= 2;
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  const padded = (row: readonly string[]): string[] =>
    row.map((text, column) => {
      const width = widths[column] ?? 0;
      return isNumber(column) ? text.padStart(width) : text.padEnd(width);
    });
  const rule = widths.map((width, column) =>
    isNumber(column) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  );
  return [line(padded(header)), line(rule), ...body.map((row) => line(padded(row)))].join('');
}
