import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createWorld } from '../../git/test-support.ts';
import { type Attempt, useLedgers } from '../ledgers.fixture.ts';
import { DEFAULT_RULES } from '../rules/service-rules.ts';
import { snapshotAt } from '../rules/snapshot.ts';
import { type ExplainOptions, explain } from './explain.ts';
import { explainRange } from './explain-range.ts';
import { ALL_CHANGED } from './select-services.ts';
import { inputsOf } from './service-inputs.ts';

type World = Awaited<ReturnType<typeof createWorld>>;

const past = useLedgers();

async function explained({ mirror }: World, revision: string, options: Partial<ExplainOptions> = {}) {
  await mirror.fetch();
  return explain({
    repository: mirror,
    ...ALL_CHANGED,
    runId: 'run-1',
    environment: null,
    revision,
    befores: [],
    ledger: options.ledger ?? (await past({})).ledger,
    holds: [],
    environmentDigest: () => '',
    ...options,
  });
}

/** A sync of the service at this commit. */
async function syncedAt({ mirror }: World, commit: string, id: string): Promise<Attempt> {
  const target = await snapshotAt({ repository: mirror, rules: DEFAULT_RULES }, commit);
  const service = target.byId.get(id);
  if (!service) throw new Error(`There is no ${id} at ${commit}.`);
  const inputs = inputsOf({ service, target, environmentDigest: () => '' });
  const { folder, tree, shared } = service;
  return { fact: { service: id, folder, commit, tree, shared, inputs }, outcome: 'succeeded' };
}

describe('explain', () => {
  it('lists the changed paths of services that were synced at many different commits', async () => {
    const world = await createWorld();
    const names = Array.from({ length: 12 }, (_, index) => `s${index}`);
    const files = (content: string) =>
      Object.fromEntries(names.map((name) => [`platform/01.${name}/compose.yaml`, content]));
    const commits: string[] = [];
    await world.commit(Object.fromEntries(names.map((name) => [`platform/01.${name}/deploy.py`, ''])));
    for (const name of names) commits.push(await world.commit({ [`platform/01.${name}/mark`]: '' }));
    const head = await world.commit({ ...files('new'), README: 'new' });
    await world.mirror.fetch();
    const attempts = await Promise.all(
      names.map((name, index) => syncedAt(world, commits[index] ?? '', `platform/${name}`)),
    );
    const { ledger } = await past({ attempts });
    const { explanation } = await explained(world, head, { ledger });
    expect(explanation.services.map(({ service, paths }) => [service, paths])).toEqual(
      names.toSorted().map((name) => [`platform/${name}`, [`platform/01.${name}/compose.yaml`]]),
    );
    expect(explanation.unmatched).toEqual(['README']);
  });

  it('reports services that the rules name and that do not exist', async () => {
    const world = await createWorld();
    const head = await world.commit({
      'platform/01.web/deploy.py': '',
      '.iac-runner.yaml': 'needs: { platform/web: [platform/postgress] }\nexclude: [platform/old]\n',
    });
    const { explanation } = await explained(world, head);
    expect(explanation.notes).toContain(
      '.iac-runner.yaml names services that do not exist: platform/old (exclude), platform/postgress (needs).',
    );
  });

  it('finds that only the task or the id changed since the first known push', async () => {
    const world = await createWorld();
    const rule = (id: string, task: string) =>
      `services:\n  - { match: "platform/{nn}.{service}/deploy.py", id: "${id}", task: "${task}" }\n`;
    const first = await world.commit({ 'platform/01.web/deploy.py': '' });
    const same = await world.commit({ '.iac-runner.yaml': rule('platform/{service}', '{service}.sync') });
    const task = await world.commit({ '.iac-runner.yaml': rule('platform/{service}', '{service}.deploy') });
    const id = await world.commit({ '.iac-runner.yaml': rule('{service}', '{service}.sync') });
    await world.mirror.fetch();
    const { ledger } = await past({ baseline: first });
    const decided = async (revision: string) =>
      (await explained(world, revision, { ledger })).explanation.services.map(
        ({ service, decision }) => `${service}: ${decision}`,
      );
    expect(await decided(same)).toEqual(['platform/web: not_chosen']);
    expect(await decided(task)).toEqual(['platform/web: run']);
    expect(await decided(id)).toEqual(['web: run']);
    const range = await explainRange(world.mirror, { from: same, to: task });
    expect(range.explanation.services).toMatchObject([{ service: 'platform/web', decision: 'run' }]);
  });

  it('explains a range for an environment by the rules that this environment has', async () => {
    const world = await createWorld();
    const rule = (name: string) => `{ match: "{service}/${name}", run: [up, "{environment}"]`;
    const rules = `services:\n  - ${rule('both')} }\n  - ${rule('live')}, environments: [production] }\n`;
    const files = (content: string) => ({ 'a/both': content, 'b/live': content });
    const from = await world.commit({ '.iac-runner.yaml': rules, ...files('') });
    const to = await world.commit(files('more'));
    await world.mirror.fetch();
    const running = async (environment: string | null) => {
      const { explanation } = await explainRange(world.mirror, { from, to, environment });
      return explanation.services.flatMap(({ service, decision }) => (decision === 'run' ? service : []));
    };
    expect(await running(null)).toEqual(['a', 'b']);
    expect(await running('production')).toEqual(['a', 'b']);
    expect(await running('staging')).toEqual(['a']);
  });

  it('reads the file behind a compose.yaml that is a link', async () => {
    const world = await createWorld();
    await world.commit({ 'platform/01.web/deploy.py': '', 'stacks/web.yaml': 'services: {}\n' });
    await symlink('../../stacks/web.yaml', join(world.source, 'platform/01.web/compose.yaml'));
    const head = await world.commit({ other: '' });
    const { target } = await explained(world, head);
    const { config } = target.byId.get('platform/web') ?? {};
    expect(config?.[0]).toBe(await world.shell(['rev-parse', `${head}:stacks/web.yaml`]));
  });
});
