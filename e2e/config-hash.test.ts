/** The config hash that tasks compare is computed by the formula of the contract. */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FOLDERS } from './support/platform-services.ts';
import { sync } from './support/run-actions.ts';
import { shareStage } from './support/shared-stage.ts';

describe('IAC_CONFIG_HASH', () => {
  const environment = { VAULT_ADDR: '', VAULT_APP_TOKEN: 'hvs.a=b c', DEPLOY_ENV: 'ünï', DOKPLOY_URL: ' ' };
  const shared = shareStage('config-hash', () => environment);

  it('is the first twelve digits of the SHA-256 over compose.yaml and the environment, as the contract defines it', async () => {
    const { stage } = shared();
    await sync(shared(), { services: ['platform/dashy', 'finance_report/app'] });
    for (const id of ['platform/dashy', 'finance_report/app']) {
      const compose = await readFile(join(stage.repository.clone, FOLDERS[id] ?? '', 'compose.yaml'), 'utf8');
      const variables: Record<string, string> = {
        VAULT_APP_TOKEN: 'hvs.a=b c',
        DEPLOY_ENV: 'ünï',
        DOKPLOY_URL: ' ',
        INTERNAL_DOMAIN: 'example.com',
        ENV: 'production',
        PROJECT: 'platform',
        IAC_JOURNAL: stage.journal.path,
        IAC_EXAMPLE_STATE: join(stage.folder, 'state'),
      };
      const lines = Object.keys(variables)
        .toSorted()
        .map((name) => `${name}=${variables[name]}`);
      const expected = createHash('sha256')
        .update(`${compose}\n---ENV---\n${lines.join('\n')}`, 'utf8')
        .digest('hex')
        .slice(0, 12);
      // The example's task stores the hash that it received.
      const handed = await readFile(join(stage.folder, 'state', id, 'config-hash'), 'utf8');
      expect(handed.trim()).toBe(expected);
    }
  });

  it('differs for another environment, and an unchanged service is then synced again', async () => {
    const { stage, runner } = shared();
    await sync(shared(), { services: ['platform/vault'] });
    const read = () => readFile(join(stage.folder, 'state/platform/vault/config-hash'), 'utf8');
    const before = await read();
    await runner.stop();
    const second = await stage.start({ environment: { ...environment, INTERNAL_DOMAIN: 'example.org' } });
    const run = await sync({ runner: second }, { services: ['platform/vault'] });
    expect(run.message).toBe('1 service(s) synced successfully');
    expect(await read()).not.toBe(before);
    const same = await sync({ runner: second }, { services: ['platform/vault'] });
    expect(same.message).toBe('No services required sync');
  });
});
