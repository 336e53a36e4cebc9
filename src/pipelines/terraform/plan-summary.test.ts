import path from 'node:path';
import { expect, it } from 'vitest';
import { hasChanges } from '../../runs/deployments/deployment.ts';
import { summarizePlan, summaryWords } from './plan-summary.ts';
import { makePlace, NO_LIMITS, terraform, terraformOrSkip, writeTree } from './terraform.fixture.ts';

function change(address: string, ...actions: string[]) {
  return { address, mode: 'managed', change: { actions, before: null } };
}

it('summarizePlan counts as the tools do, a replacement as one added and one destroyed', () => {
  const resource_changes = [
    change('a.create', 'create'),
    change('a.update', 'update'),
    change('a.delete', 'delete'),
    change('a.replace', 'delete', 'create'),
    change('a.replace_first', 'create', 'delete'),
    change('a.no_op', 'no-op'),
    change('data.a.read', 'read'),
    change('a.forget', 'forget'),
    change('a.replace_and_keep', 'create', 'forget'),
    change('a.of_next_year', 'levitate'),
  ];
  const output_changes = {
    b: { actions: ['update'] },
    a: { actions: ['create'] },
    c: { actions: ['no-op'] },
  };
  const summary = summarizePlan(JSON.stringify({ format_version: '1.2', resource_changes, output_changes }));
  expect(summary).toEqual({
    add: 4,
    change: 1,
    destroy: 3,
    replace: 2,
    forget: 1,
    omitted: 0,
    outputs: ['a', 'b'],
    resources: [
      { address: 'a.create', action: 'create' },
      { address: 'a.update', action: 'update' },
      { address: 'a.delete', action: 'delete' },
      { address: 'a.replace', action: 'replace' },
      { address: 'a.replace_first', action: 'replace' },
      { address: 'a.forget', action: 'forget' },
      { address: 'a.replace_and_keep', action: 'create' },
    ],
  });
  expect(summaryWords(summary)).toBe('4 to add, 1 to change, 3 to destroy, 1 to forget');
});

it('summarizePlan lists at most 500 resources and counts all', () => {
  const resource_changes = Array.from({ length: 700 }, (_, index) => change(`a.b[${index}]`, 'create'));
  const summary = summarizePlan(JSON.stringify({ resource_changes }));
  expect(summary).toMatchObject({ add: 700, omitted: 200 });
  expect(summary?.resources).toHaveLength(500);
});

it.each([
  '',
  'null',
  '[]',
  '{"resource_changes":1}',
  '{"resource_changes":[{}]}',
  '{"output_changes":{"a":1}}',
])('claims nothing of %j', (json) => {
  expect(summarizePlan(json)).toBe(null);
  expect(summaryWords(null)).toBe('a plan that could not be summed up');
});

it.each<[what: string, plan: object, words: string, changes: boolean]>([
  ['forgets', { resource_changes: [change('a.x', 'forget')] }, '1 to forget', true],
  [
    'imports',
    { resource_changes: [{ address: 'a.x', change: { actions: ['no-op'], importing: { id: '1' } } }] },
    '1 to import',
    true,
  ],
  [
    'imports and changes',
    { resource_changes: [{ address: 'a.x', change: { actions: ['update'], importing: {} } }] },
    '0 to add, 1 to change, 0 to destroy, 1 to import',
    true,
  ],
  [
    'moves',
    { resource_changes: [{ address: 'a.y', previous_address: 'a.x', change: { actions: ['no-op'] } }] },
    '1 to move',
    true,
  ],
  ['refreshes', { resource_drift: [change('a.x', 'update')], applyable: true }, '1 to refresh', true],
  [
    'refreshes, by a tool that does not say so',
    { resource_drift: [change('a.x', 'delete')] },
    '1 to refresh',
    true,
  ],
  ['can be applied for a reason that is not listed', { applyable: true }, '1 to refresh', true],
  [
    'notices what no apply would write',
    { resource_drift: [change('a.x', 'update')], applyable: false },
    'no changes',
    false,
  ],
  ['does nothing', { resource_changes: [change('a.x', 'no-op')], applyable: false }, 'no changes', false],
])('describes a plan that %s', (_what, plan, words, changes) => {
  const summary = summarizePlan(JSON.stringify(plan));
  expect([summaryWords(summary), hasChanges(summary)]).toEqual([words, changes]);
});

it('summarizePlan describes plans that change little', () => {
  expect(summaryWords(summarizePlan('{}'))).toBe('no changes');
  expect(summaryWords(summarizePlan('{"output_changes":{"a":{"actions":["create"]}}}'))).toBe(
    '1 output to change',
  );
});

it('summarizePlan sums up a plan of a real terraform', async (context) => {
  await terraformOrSkip(context);
  const place = await makePlace(NO_LIMITS);
  const plan = path.join(place.root, 'tfplan');
  const resource = (name: string, keeper: string): string =>
    `resource "terraform_data" "${name}" {\n  input = "${keeper}"\n  triggers_replace = "${keeper === 'new' ? keeper : ''}"\n}\n`;
  writeTree(place.root, { 'main.tf': `${resource('a', '1')}${resource('b', '1')}${resource('c', '1')}` });
  await terraform(place, 'init');
  await terraform(place, 'apply', '-auto-approve');
  writeTree(place.root, {
    'main.tf': `${resource('a', '2')}${resource('b', 'new')}${resource('d', '1')}output "o" {\n  value = 1\n}\n`,
  });
  const { output } = await terraform(place, 'plan', '-no-color', `-out=${plan}`);
  const summary = summarizePlan((await terraform(place, 'show', '-json', plan)).output);
  expect(summary).toMatchObject({ add: 2, change: 1, destroy: 2, replace: 1, outputs: ['o'] });
  expect(output).toContain(`Plan: ${summaryWords(summary)}`);
});

it('summarizePlan sums up a real terraform plan that only changes the state', async (context) => {
  await terraformOrSkip(context);
  const place = await makePlace(NO_LIMITS);
  const plan = path.join(place.root, 'tfplan');
  const resource = (name: string): string => `resource "terraform_data" "${name}" {\n}\n`;
  writeTree(place.root, { 'main.tf': ['kept', 'old', 'left'].map(resource).join('') });
  await terraform(place, 'init');
  await terraform(place, 'apply', '-auto-approve');
  const state = [
    resource('kept'),
    resource('new'),
    resource('found'),
    'moved {\n  from = terraform_data.old\n  to = terraform_data.new\n}\n',
    'import {\n  to = terraform_data.found\n  id = "x"\n}\n',
    'removed {\n  from = terraform_data.left\n  lifecycle {\n    destroy = false\n  }\n}\n',
  ];
  writeTree(place.root, { 'main.tf': state.join('') });
  await terraform(place, 'plan', '-no-color', `-out=${plan}`);
  const summary = summarizePlan((await terraform(place, 'show', '-json', plan)).output);
  expect(summaryWords(summary)).toBe('1 to import, 1 to forget, 1 to move');
});
