import { describe, expect, test } from 'vitest';
import { blockOfEachGrain, fioArguments, rateIn } from '../../bench/fio.js';
import { JOBS, type Job } from '../../bench/jobs.js';

const MIB = 1024 * 1024;
const target = {
  file: '/t/a:b',
  bytes: 64 * MIB,
  seconds: 1.5,
  dropsCache: true,
  blockList: '/t/b:c',
};

function job(name: string): Job {
  return JOBS.find((one) => one.name === name)!;
}

describe('fioArguments', () => {
  test('escapes the colon that separates files, and never makes a file', () => {
    const args = fioArguments(job('sequential read 1 MiB').workload, target);
    expect(args).toContain('--filename=/t/a\\:b');
    expect(args).toContain('--allow_file_create=0');
  });

  test('bounds a workload by the file, by time, or by blocks and time', () => {
    const bounds = (name: string): string[] =>
      fioArguments(job(name).workload, target).filter((argument) =>
        /^--(?:time_based|r[ua][nm].*time|number_ios|read_iolog|replay)/.test(argument),
      );
    expect(bounds('sequential read 1 MiB')).toEqual([]);
    expect(bounds('random read 4 KiB O_DIRECT QD1')).toEqual([
      ...['--time_based', '--runtime=1500ms', '--ramp_time=500ms'],
    ]);
    expect(bounds('random write 4 KiB O_DIRECT QD1, allocating')).toEqual([
      ...['--number_ios=256', '--runtime=1500ms'],
    ]);
    expect(bounds('streamOptimized: random read 4 KiB O_DIRECT QD1, cold')).toEqual([
      ...['--read_iolog=/t/b\\:c', '--replay_redirect=/t/a:b', '--runtime=1500ms'],
    ]);
  });

  test('keeps a workload to the part of the file that it is for, if the file has as much', () => {
    const { workload } = job('streamOptimized: random read 4 KiB O_DIRECT QD1 in 16 MiB');
    expect(fioArguments(workload, target)).toContain(`--size=${16 * MIB}`);
    expect(fioArguments(workload, { ...target, bytes: MIB })).toContain(`--size=${MIB}`);
  });
});

test('a list of blocks has one of each grain, at places all over the grains', () => {
  const lines = blockOfEachGrain(4096, 64 * MIB).split('\n');
  expect(lines.slice(0, 3)).toEqual(['fio version 2 iolog', 'disk add', 'disk open']);
  expect(lines.slice(-2)).toEqual(['disk close', '']);
  const offsets = lines.slice(3, -2).map((line) => {
    expect(line).toMatch(/^disk read \d+ 4096$/);
    return Number(line.split(' ')[2]);
  });
  const grain = 64 * 1024;
  expect(new Set(offsets.map((offset) => Math.floor(offset / grain))).size).toBe(1024);
  expect(new Set(offsets.map((offset) => offset % grain)).size).toBe(16);
  expect(offsets).toHaveLength(1024);
});

describe('rateIn', () => {
  const output = (error: number): string => {
    const read = { bw_bytes: 2_500_000, iops: 610 };
    const write = { bw_bytes: 1_000_000, iops: 244 };
    return `note: something\n${JSON.stringify({ jobs: [{ error, read, write }] })}\n`;
  };

  test('takes the direction and the unit of the job', () => {
    expect(rateIn(job('sequential read 1 MiB'), output(0))).toBe(2.5);
    expect(rateIn(job('random read 4 KiB O_DIRECT QD1'), output(0))).toBe(610);
    expect(rateIn(job('random write 4 KiB O_DIRECT QD1, overwriting'), output(0))).toBe(244);
  });

  test('refuses an error and a rate of nothing', () => {
    const read = job('sequential read 1 MiB');
    expect(() => rateIn(read, output(5))).toThrow('measured nothing');
    expect(() => rateIn(read, '{"jobs":[]}')).toThrow('measured nothing');
  });
});
