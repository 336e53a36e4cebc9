/** Reads the JSON of `output -json`, without the values that the configuration calls sensitive. */

import { z } from 'zod';
import type { CapturedText } from '../../executor/captured-text.ts';
import { parseJson } from '../../parse-json.ts';
import type { DeployOutput } from '../../runs/deployments/deployment.ts';

const outputsSchema = z.record(
  z.string(),
  z
    .object({ sensitive: z.boolean().default(false), type: z.unknown(), value: z.unknown() })
    .transform(({ sensitive, type, value }) => ({ sensitive, type, value: sensitive ? null : value })),
);

/** The value of a sensitive output is null. Returns null if the text is not the JSON of `output -json`. */
export function readOutputsJson(json: string): Record<string, DeployOutput> | null {
  return outputsSchema.safeParse(parseJson(json)).data ?? null;
}

/** Masks the secrets of the server and of the run, even in outputs that the configuration does not call sensitive. */
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
