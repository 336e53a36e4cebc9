import { existsSync, mkdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  BOX,
  makePlace,
  NEEDS_BOX,
  NO_LIMITS,
  packedMirror,
  plugin,
  SYSTEM,
  temporaryFolder,
  terraform,
  terraformOrSkip,
  writeTree,
} from '../terraform.fixture.ts';
import { type CliConfig, cliConfigText, mirroredProviders, writeCliConfig } from './cli-config.ts';
import { plantedPlugins } from './planted-plugins.ts';

const UNTRUSTED: CliConfig = { registry: null, mirror: null, repositoryProviders: false };

describe('The CLI configuration', () => {
  it('gives the registry its token and its services, with the port', () => {
    const registry = { url: 'http://registry.internal:8443/base', token: 'tok-123' };
    expect(cliConfigText({ ...NO_LIMITS, registry })).toBe(`disable_checkpoint = true

credentials "registry.internal:8443" {
  token = "tok-123"
}

host "registry.internal:8443" {
  services = {
    "modules.v1" = "http://registry.internal:8443/base/v1/modules/"
    "providers.v1" = "http://registry.internal:8443/base/v1/providers/"
  }
}
`);
  });

  it('has no credentials block without a token', () => {
    const text = cliConfigText({ ...NO_LIMITS, registry: { url: 'https://registry.internal', token: null } });
    expect(text).not.toContain('credentials');
    expect(text).toContain('host "registry.internal" {');
  });

  it('F43: can only be read by this user, and overwrites nothing', async () => {
    const file = path.join(temporaryFolder(), 'cli.tfrc');
    await writeCliConfig(file, NO_LIMITS);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    await expect(writeCliConfig(file, NO_LIMITS)).rejects.toThrow('EEXIST');
  });

  it('is read by terraform, which sends any token to the registry unchanged', async (context) => {
    await terraformOrSkip(context);
    const token = ['a"b\\c$', '{d}$', '{e%{f}$g#//'].join('');
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers.authorization}`);
      response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const place = await makePlace({ ...NO_LIMITS, registry: { url: `http://127.0.0.1:${port}`, token } });
    writeTree(place.root, {
      'main.tf': `module "a" {\n  source = "127.0.0.1:${port}/acme/net/aws"\n  version = "1.0.0"\n}\n`,
    });
    const { output } = await terraform(place, 'init', '-no-color');
    expect(output).not.toContain('problems with the CLI configuration');
    expect(asked[0]).toBe(`/v1/modules/acme/net/aws/versions Bearer ${token}`);
  });

  it('takes a provider of the mirror from there, without asking its registry', async (context) => {
    await terraformOrSkip(context);
    const { directory } = await packedMirror();
    const mirror = { directory, providers: await mirroredProviders(directory) };
    expect(mirror.providers).toEqual(['example.com/acme/box']);
    const place = await makePlace({ ...UNTRUSTED, mirror });
    writeTree(place.root, NEEDS_BOX);
    const { exitCode, output } = await terraform(place, 'init', '-no-color');
    expect(output).toContain('Installed example.com/acme/box v1.0.0');
    expect(exitCode).toBe(0);
  });

  it('lists the providers of a mirror, also unpacked ones, and none if there is no folder', async () => {
    const folder = temporaryFolder();
    writeTree(folder, { [BOX]: '', 'r.io/a/b/terraform-provider-b_1.0.0_linux_amd64.zip': '', README: '' });
    expect(await mirroredProviders(folder)).toEqual(['example.com/acme/box', 'r.io/a/b']);
    expect(await mirroredProviders(path.join(folder, 'missing'))).toEqual([]);
  });
});

describe('F46: files of a repository', () => {
  it('a provider under terraform.d/plugins is started for a trusted head, and for no other', async (context) => {
    await terraformOrSkip(context);
    for (const repositoryProviders of [true, false]) {
      const canary = path.join(temporaryFolder(), 'canary');
      const place = await makePlace({ ...UNTRUSTED, repositoryProviders });
      writeTree(place.root, { ...NEEDS_BOX, [`terraform.d/plugins/${BOX}`]: plugin(canary) });
      const init = await terraform(place, 'init', '-no-color');
      await terraform(place, 'plan', '-no-color');
      expect([init.exitCode === 0, existsSync(canary)]).toEqual([repositoryProviders, repositoryProviders]);
    }
  });

  it('a provider and settings under a committed .terraform do nothing', async (context) => {
    await terraformOrSkip(context);
    const canary = path.join(temporaryFolder(), 'canary');
    const place = await makePlace(UNTRUSTED);
    const planted = { ...NEEDS_BOX, [`terraform.d/plugins/${BOX}`]: plugin(canary) };
    writeTree(place.root, planted);
    // The attacker's own init, which makes exactly what would be taken.
    const attacker = await makePlace(NO_LIMITS);
    const { TF_DATA_DIR: _, ...ownDataDir } = attacker.env;
    await terraform({ root: place.root, env: ownDataDir }, 'init');
    writeTree(place.root, { '.terraform/plugin_path': `["${place.root}/terraform.d/plugins"]` });
    expect(existsSync(path.join(place.root, '.terraform/providers', path.dirname(BOX)))).toBe(true);

    expect((await terraform(place, 'init', '-no-color')).exitCode).toBe(1);
    await terraform(place, 'plan', '-no-color');
    expect(existsSync(canary)).toBe(false);
    await terraform({ root: place.root, env: ownDataDir }, 'plan');
    expect(existsSync(canary)).toBe(true);
  });

  it('a committed CLI configuration does nothing, by whatever name', async (context) => {
    await terraformOrSkip(context);
    const canary = path.join(temporaryFolder(), 'canary');
    const place = await makePlace(UNTRUSTED);
    writeTree(place.root, { ...NEEDS_BOX, 'own/terraform-provider-box': plugin(canary) });
    const settings = `provider_installation {\n  dev_overrides {\n    "example.com/acme/box" = "${place.root}/own"\n  }\n}\n`;
    const names = ['.terraformrc', 'terraform.rc', '.tofurc', 'cli.tfrc', '.terraform.d/x.tfrc'];
    writeTree(place.root, Object.fromEntries(names.map((name) => [name, settings])));
    const { output } = await terraform(place, 'plan', '-no-color');
    expect(output).not.toContain('overrides');
    expect(existsSync(canary)).toBe(false);
    const fooled = { ...place.env, TF_CLI_CONFIG_FILE: path.join(place.root, '.terraformrc') };
    await terraform({ root: place.root, env: fooled }, 'plan');
    expect(existsSync(canary)).toBe(true);
  });

  it('a provisioner plugin is started with any settings, so it has to be found before', async (context) => {
    await terraformOrSkip(context);
    const uses = { 'main.tf': 'resource "terraform_data" "x" {\n  provisioner "evil" {}\n}\n' };
    for (const name of [
      'terraform-provisioner-evil',
      `terraform.d/plugins/${SYSTEM}/terraform-provisioner-evil_v1.0.0`,
    ]) {
      const canary = path.join(temporaryFolder(), 'canary');
      const place = await makePlace(UNTRUSTED);
      writeTree(place.root, { ...uses, [name]: plugin(canary) });
      await terraform(place, 'init');
      await terraform(place, 'plan');
      expect(existsSync(canary)).toBe(true);
      expect(await plantedPlugins(place.root)).toEqual([name]);
    }
  });

  it('no plugin is found if there is none, and odd folders do not matter', async () => {
    const folder = temporaryFolder();
    writeTree(folder, { 'main.tf': '', 'terraform.d/plugins': 'a file', 'a/terraform-provisioner-x': '' });
    expect(await plantedPlugins(folder)).toEqual([]);
    expect(await plantedPlugins(path.join(folder, 'missing'))).toEqual([]);
    mkdirSync(path.join(folder, 'b/terraform-provisioner-folder'), { recursive: true });
    expect(await plantedPlugins(path.join(folder, 'b'))).toEqual(['terraform-provisioner-folder']);
  });

  it('a module that git would fetch by running a program does not run it', async (context) => {
    await terraformOrSkip(context);
    const canary = path.join(temporaryFolder(), 'canary');
    const place = await makePlace(UNTRUSTED);
    const sources = [`git::ext::sh -c touch%20${canary}`, `git::file://${place.root}`];
    for (const source of sources) {
      writeTree(place.root, { 'main.tf': `module "a" {\n  source = "${source}"\n}\n` });
      const { exitCode, output } = await terraform(place, 'init', '-no-color');
      expect(exitCode).toBe(1);
      expect(output).toMatch(/transport '(ext|file)' not allowed/);
    }
    expect(existsSync(canary)).toBe(false);
  });
});
