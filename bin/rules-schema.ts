/** The JSON Schema of `.iac-runner.yaml`, made from what the program itself accepts. */

import { z } from 'zod';
import { rulesFileSchema } from '../src/pipelines/rules/file/rules-schema.ts';

/** For editors: `# yaml-language-server: $schema=…` on the first line of the file. */
export function rulesSchemaDocument(): string {
  const schema = z.toJSONSchema(rulesFileSchema, { io: 'input', unrepresentable: 'any' });
  return `${JSON.stringify({ ...schema, title: '.iac-runner.yaml' }, null, 2)}\n`;
}
