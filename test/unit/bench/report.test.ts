import { format } from 'prettier';
import { describe, expect, test } from 'vitest';
import { JOBS } from '../../bench/jobs.js';
import type { Measurement } from '../../bench/measure.js';
import { measurementLine, resultTable } from '../../bench/report.js';
import type { SubjectName } from '../../bench/subjects.js';

const [read, , random] = JOBS;

/** Measurements of `subject` in the runs 0, 1 and so on. */
function measured(job: typeof read, subject: SubjectName, ...rates: number[]): Measurement[] {
  return rates.map((rate, run) => ({ run, job: job!, subject, rate }));
}

const measurements = [
  ...measured(read, 'plain', 5000, 5001, 5002),
  ...measured(read, 'vmdkfs', 2000, 200, 3000),
  ...measured(read, 'qemu', 1000, 100, 2000),
  ...measured(random, 'vmdkfs', 12.345, 99.94),
];

describe('resultTable', () => {
  test('has medians, ratios of each run, and columns for what was measured', () => {
    expect(resultTable(measurements).split('\n')).toEqual([
      '| job                            | unit | vmdkfs | qemu | plain | vmdkfs / qemu |',
      '| ------------------------------ | ---- | -----: | ---: | ----: | ------------: |',
      '| sequential read 1 MiB          | MB/s |   2000 | 1000 |  5001 |          2.00 |',
      '| random read 4 KiB O_DIRECT QD1 | IOPS |   56.1 |    - |     - |             - |',
      '',
    ]);
  });

  test('is as prettier leaves it, so that the note passes the format check', async () => {
    const table = resultTable(measurements);
    expect(await format(table, { parser: 'markdown' })).toBe(table);
  });
});

test('a line for a measurement counts runs from one', () => {
  const [measurement] = measured(read, 'vmdkfs libfuse', 1234.5678);
  expect(measurementLine(measurement!)).toBe(
    'run 1: sequential read 1 MiB: vmdkfs libfuse: 1235 MB/s',
  );
});
