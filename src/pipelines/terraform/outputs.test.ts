import { expect, it } from 'vitest';
import { readOutputsJson } from './outputs.ts';
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

it('F41: readOutputsJson reads the outputs of a real terraform without their sensitive values', async (context) => {
  await terraformOrSkip(context);
  const place = await makePlace(NO_LIMITS);
  writeTree(place.root, { 'main.tf': CONFIGURATION });
  await terraform(place, 'apply', '-auto-approve');
  const outputs = readOutputsJson((await terraform(place, 'output', '-json')).output);
  expect(outputs).toMatchObject({
    plain: { sensitive: false, value: { list: [1, 'two', null], on: true } },
    password: { sensitive: true, type: 'string', value: null },
    nested: { sensitive: true, value: null },
  });
  expect(JSON.stringify(outputs)).not.toMatch(/hunter2|ada/);
});

it('readOutputsJson reads no outputs if there are none, or if the text is something else', () => {
  expect(readOutputsJson('{}')).toEqual({});
  for (const text of ['', 'null', '[1]', '{"a":1}', '{"a":{"sensitive":"no"}}']) {
    expect(readOutputsJson(text)).toBe(null);
  }
});
