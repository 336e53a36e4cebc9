import { expect, it } from 'vitest';
import { outputsText, readOutputsJson } from './outputs.ts';
import { makePlace, NO_LIMITS, terraform, terraformOrSkip, writeTree } from './terraform.fixture.ts';

const CONFIGURATION = `output "plain" {
  value = { list = [1, "two", null], on = true }
}
output "password" {
  value = "hunter2-hunter2"
  sensitive = true
}
output "nested" {
  value = { users = [{ name = "ada", key = "key-of-ada" }], port = 5432 }
  sensitive = true
}
`;

it('F41: reads the outputs of a real terraform without keeping what is sensitive', async (context) => {
  await terraformOrSkip(context);
  const place = await makePlace(NO_LIMITS);
  writeTree(place.root, { 'main.tf': CONFIGURATION });
  await terraform(place, 'apply', '-auto-approve');
  const read = readOutputsJson((await terraform(place, 'output', '-json')).output);
  expect(read?.secrets.sort()).toEqual(['hunter2-hunter2', 'key-of-ada']);
  expect(read?.outputs).toMatchObject({
    plain: { sensitive: false, value: { list: [1, 'two', null], on: true } },
    password: { sensitive: true, type: 'string', value: null },
    nested: { sensitive: true, value: null },
  });
  const text = outputsText(read?.outputs ?? {});
  expect(JSON.parse(text).password).toEqual({ sensitive: true, type: 'string', value: '(sensitive value)' });
  expect(`${text}${JSON.stringify(read?.outputs)}`).not.toMatch(/hunter2|ada/);
});

it('has no outputs where there are none, or where the text is something else', () => {
  expect(readOutputsJson('{}')).toEqual({ outputs: {}, secrets: [] });
  expect(outputsText({})).toBe('{}');
  for (const text of ['', 'null', '[1]', '{"a":1}', '{"a":{"sensitive":"no"}}']) {
    expect(readOutputsJson(text)).toBe(null);
  }
});

it('finds secrets however deep they are', () => {
  const depth = 20_000;
  const value = `${'['.repeat(depth)}"deep-secret"${']'.repeat(depth)}`;
  expect(readOutputsJson(`{"a":{"sensitive":true,"type":"x","value":${value}}}`)?.secrets).toEqual([
    'deep-secret',
  ]);
});
