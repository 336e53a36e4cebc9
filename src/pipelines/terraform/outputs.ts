/** Reads what `output -json` tells, without keeping or showing what is sensitive. */

import { z } from 'zod';
import type { CapturedText } from '../../executor/captured-text.ts';
import type { DeployOutput } from '../../runs/deployments/deployment.ts';

const outputsSchema = z.record(
  z.string(),
  z.object({ sensitive: z.boolean().default(false), type: z.unknown(), value: z.unknown() }),
);

/** Shorter strings are not masked anywhere: that would hide half the log and protect nothing. */
const MIN_SECRET_LENGTH = 6;
const HIDDEN = '(sensitive value)';

export interface ReadOutputs {
  /** Free of sensitive values: null stands in their place. */
  outputs: Record<string, DeployOutput>;
  /** Every string within the sensitive values, to be masked in logs. */
  secrets: string[];
}

/** Null when the text is not what `output -json` gives. */
export function readOutputsJson(json: string): ReadOutputs | null {
  const found = outputsSchema.safeParse(parsed(json)).data;
  if (!found) return null;
  const all = Object.entries(found);
  const secrets = all.flatMap(([, { sensitive, value }]) => (sensitive ? [...stringsIn(value)] : []));
  return {
    outputs: Object.fromEntries(
      all.map(([name, { sensitive, type, value }]) => [
        name,
        { sensitive, type, value: sensitive ? null : value },
      ]),
    ),
    secrets: [...new Set(secrets)],
  };
}

/** Without what is secret to the server or the run, whether the configuration calls it sensitive or not. */
export async function maskOutputs(
  outputs: Readonly<Record<string, DeployOutput>>,
  { mask, masked }: Pick<CapturedText, 'mask' | 'masked'>,
): Promise<Record<string, DeployOutput>> {
  const shown: [string, DeployOutput][] = [];
  for (const [name, { sensitive, type, value }] of Object.entries(outputs)) {
    shown.push([mask(name), { sensitive, type: await masked(type), value: await masked(value) }]);
  }
  return Object.fromEntries(shown);
}

/** As `output -json` writes them, with words in place of the sensitive values. */
export function outputsText(outputs: Readonly<Record<string, DeployOutput>>): string {
  const shown = Object.entries(outputs).map(([name, { sensitive, type, value }]) => [
    name,
    { sensitive, type, value: sensitive ? HIDDEN : value },
  ]);
  return JSON.stringify(Object.fromEntries(shown), null, 2);
}

/** Not recursive: values may be nested as deep as their maker likes. */
function* stringsIn(value: unknown): Generator<string> {
  const left = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next === 'string' && next.length >= MIN_SECRET_LENGTH) yield next;
    if (typeof next === 'object' && next !== null) left.push(...Object.values(next));
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
