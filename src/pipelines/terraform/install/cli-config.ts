/** The CLI configuration of Terraform and OpenTofu: the registry's token, and the sources of providers. */

import { glob, writeFile } from 'node:fs/promises';
import path from 'node:path';

export interface CliConfig {
  /** A private registry. `url` has no final slash. Without a token the tools send no credentials. */
  registry: { url: string; token: string | null } | null;
  /** A filesystem mirror and its providers, as `host/namespace/type`. */
  mirror: { directory: string; providers: readonly string[] } | null;
  /** False: the tools take no provider from the repository. */
  repositoryProviders: boolean;
}

/** The form is that of https://developer.hashicorp.com/terraform/cli/config/config-file. */
export function cliConfigText({ registry, mirror, repositoryProviders }: CliConfig): string {
  const blocks = ['disable_checkpoint = true'];
  if (registry) {
    // The host includes its port, because the tools compare hosts as text, except for the default port of https.
    const host = quoted(new URL(registry.url).host);
    if (registry.token !== null) blocks.push(`credentials ${host} {\n  token = ${quoted(registry.token)}\n}`);
    blocks.push(
      `host ${host} {\n  services = {\n    "modules.v1" = ${quoted(`${registry.url}/v1/modules/`)}\n    "providers.v1" = ${quoted(`${registry.url}/v1/providers/`)}\n  }\n}`,
    );
  }
  // Without this block the tools also look into `terraform.d/plugins` of the working directory.
  if (mirror || !repositoryProviders) blocks.push(providerInstallation(mirror));
  return `${blocks.join('\n\n')}\n`;
}

/** Only this user can read the file. Throws if the file exists. */
export async function writeCliConfig(file: string, config: CliConfig): Promise<void> {
  await writeFile(file, cliConfigText(config), { mode: 0o600, flag: 'wx' });
}

/** The providers of a filesystem mirror, unpacked or packed. Empty if the folder is missing. */
export async function mirroredProviders(directory: string): Promise<string[]> {
  const found = new Set<string>();
  for await (const entry of glob('*/*/*/*', { cwd: directory })) found.add(path.dirname(entry));
  return [...found].sort();
}

/**
 * A provider of the mirror comes from the mirror only. If two sources could have it, the tools ask both, and fail
 * without a network.
 */
function providerInstallation(mirror: CliConfig['mirror']): string {
  if (!mirror) return 'provider_installation {\n  direct {\n  }\n}';
  const list = `[${mirror.providers.map(quoted).join(', ')}]`;
  return `provider_installation {
  filesystem_mirror {
    path    = ${quoted(mirror.directory)}
    include = ${list}
  }
  direct {
    exclude = ${list}
  }
}`;
}

/** A string of HCL 1. Only the number of the character escapes `${`, which starts an interpolation. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('${', '\\u0024{');
}
