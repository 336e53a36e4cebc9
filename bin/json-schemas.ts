/** The JSON Schemas of the files that people write, made from what the program itself accepts. */

import { z } from 'zod';
import { configFields } from '../src/config/file/config-fields.ts';
import { rulesFileSchema } from '../src/pipelines/rules/file/rules-schema.ts';

/** For editors: `# yaml-language-server: $schema=…` on the first line of the file. */
export function rulesSchemaDocument(): string {
  return schemaDocument(rulesFileSchema, '.iac-runner.yaml');
}

export function configSchemaDocument(): string {
  return schemaDocument(configFields, 'The configuration file of iac-runner');
}

function schemaDocument(fields: z.ZodType, title: string): string {
  const schema = z.toJSONSchema(fields, { io: 'input', unrepresentable: 'any' });
  return `${JSON.stringify({ ...schema, title }, null, 2)}\n`;
}
