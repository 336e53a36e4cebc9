/** The fields of a rules file. The published JSON Schema is made from this. */

import { z } from 'zod';
import { TOOLS } from '../../../runs/deployments/deployment.ts';
import { windowFields } from '../../../sync-window.ts';
import { patterns, serviceRule } from './rule-schema.ts';
import { problemOfWildcards } from './rule-texts.ts';

/** Every file may be compared with all of them. */
const MAX_RULES = 200;
const MAX_SHARED = 1_000;

const serviceId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/, 'expected a service id such as platform/postgres')
  .describe('A service id such as platform/postgres');

const repositoryPath = z
  .string()
  .regex(
    /^(?!\/)(?![\s\S]*(^|\/)\.{1,2}(\/|$))[^\0]+[^/\0]$|^[^/.\0]$/,
    'expected a path in the repository, without ".." and without a slash at its ends',
  )
  .describe('A file or folder of the repository, e.g. libs/common');

const sharedGlob = repositoryPath
  .superRefine((path, { addIssue }) => {
    const message = problemOfWildcards(path);
    if (message !== null) addIssue({ code: 'custom', message });
  })
  .describe('A file or folder of the repository, or a glob such as libs/**');

const sharedPath = z.union([
  sharedGlob,
  z.strictObject({
    path: sharedGlob,
    services: z
      .union([z.literal('all'), z.array(serviceId).min(1)])
      .describe('Only these depend on it, or all'),
  }),
]);

const tool = z.enum(TOOLS);
const toolVersion = z
  .string()
  .regex(/^[0-9][0-9A-Za-z.+-]{0,63}$/, 'expected a version such as "1.11.4"')
  .describe('A version that is installed on the runner, e.g. "1.11.4"');
const rootPath = z
  .union([z.literal('.'), repositoryPath])
  .describe('The folder of a root module, "." for the top');

const terraform = z.strictObject({
  tool: tool.default('terraform'),
  version: toolVersion.optional(),
  roots: z
    .array(
      z.union([
        rootPath,
        z.strictObject({ path: rootPath, tool: tool.optional(), version: toolVersion.optional() }),
      ]),
    )
    .min(1)
    .optional()
    .describe('In place of those found by their files'),
});

export const rulesFileSchema = z
  .strictObject({
    services: z
      .array(serviceRule)
      .min(1)
      .max(MAX_RULES)
      .optional()
      .describe('In place of the built-in rules'),
    shared: z.array(sharedPath).max(MAX_SHARED).optional().describe('In place of the built-in shared paths'),
    ignore: patterns().optional().describe('Files that no service depends on, e.g. **/*.md'),
    exclude: z.array(serviceId).optional().describe('Services that are listed, but never run'),
    needs: z
      .record(serviceId, z.array(serviceId))
      .optional()
      .describe('Service → services that go before it'),
    timeouts: z
      .record(serviceId, z.number().int().min(1).max(86_400))
      .optional()
      .describe('Service → seconds its task may take'),
    windows: z.array(windowFields).optional().describe('When syncs may run; others wait'),
    terraform: terraform.optional().describe('Root modules that pull requests are planned for'),
    signatures: z.enum(['required', 'optional']).optional().describe('Whether commits must be signed'),
  })
  .describe('Rules of a platform repository for iac-runner');

export type RulesFile = z.output<typeof rulesFileSchema>;
export type TerraformFields = z.output<typeof terraform>;
