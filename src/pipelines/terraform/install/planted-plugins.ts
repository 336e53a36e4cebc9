/** Finds plugins lying in a repository that the tools would start by themselves. */

import { readdir } from 'node:fs/promises';
import path from 'node:path';

/**
 * Provisioner plugins that Terraform and OpenTofu start while they plan, when a configuration names them: no setting
 * turns that off, not even an explicit `provider_installation`. They look into the working directory and into
 * `terraform.d/plugins/<system>` of it (internal/command/plugins.go); names are case-sensitive, links are followed.
 * Resolves to their paths below `directory`, the root module's folder. A head that is not trusted must not be planned
 * when there are any.
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
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // A link in a circle is nothing to the tools either.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return [];
    throw error;
  }
}
