import { describe, expect, test } from 'vitest';
import { factsOf } from '../../../src/cli/command-facts.js';
import { buildProgram } from '../../../src/cli/program.js';

const facts = factsOf(buildProgram());
const mount = facts.commands.find(({ isDefault }) => isDefault);

describe('the facts of the program', () => {
  test('say what every value is: a new name needs a kind in the table of command-facts.ts', () => {
    const values = facts.commands.flatMap(({ arguments: list, name, options }) => [
      ...list.map((value) => ({ name, value })),
      ...options.flatMap(({ value }) => (value === undefined ? [] : [{ name, value }])),
    ]);
    expect(values.length).toBeGreaterThan(15);
    const unknown = values.filter(({ value }) => value.kind === undefined);
    expect(unknown.map(({ name, value }) => `${name} <${value.name}>`)).toEqual([]);
  });

  test('have names, choices and defaults of options', () => {
    const transport = mount?.options.find(({ names }) => names.includes('--transport'));
    expect(transport).toMatchObject({ names: ['--transport'], defaultValue: 'auto' });
    expect(transport?.value?.choices).toEqual(['auto', 'kernel', 'libfuse']);
    const list = mount?.options.find(({ names }) => names.includes('-o'));
    expect(list?.names).toEqual(['-o', '--option']);
    expect(list?.value?.kind).toBe('list');
  });

  test('have arguments in their order, and the text behind the help', () => {
    expect(mount?.name).toBe('mount');
    expect(mount?.arguments.map(({ kind }) => kind)).toEqual(['image', 'folder']);
    expect(facts.epilog).toMatch(/^Exit codes: 0 done/);
    expect(mount?.epilog).toBe('');
  });

  test('leave the program as it was', () => {
    const program = buildProgram();
    const before = program.configureOutput();
    factsOf(program);
    expect(program.configureOutput()).toEqual(before);
  });
});
