/** Finds plugins in a repository that the tools would start by themselves. */

import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { errorCode } from '../../../errors.ts';

/**
 * Terraform and OpenTofu start provisioner plugins while they plan, if a configuration names them. No setting turns
 * that off, not even an explicit `provider_installation`. The tools look into the working directory and into its
 * `terraform.d/plugins/<system>` (internal/command/plugins.go). They compare names with their case and follow links.
 * Resolves to the paths of such plugins below `directory`, the root module's folder. If there are any, an untrusted
 * head must not be planned.
 */
export async function plantedPlugins(directory: string): Promise<string[]> {
  const vendored = path.join('terraform.d', 'plugins');
  const systems = await namesIn(path.join(directory, vendored));
  const places = ['.', vendored, ...systems.map((system) => path.join(vendored, system))];
  const found = await Promise.all(
    places.map(async (place) => {
      const names = await namesIn(path.join(directory, place));
      return names
        .filter((name) => name.startsWith('terraform-provisioner-'))
        .map((name) => path.join(place, name));
    }),
  );
  return found.flat().sort();
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    // ELOOP: the tools do not follow a link in a circle either.
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errorCode(error))) return [];
    throw error;
  }
}
