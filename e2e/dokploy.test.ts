/** Config hashes in Dokploy are written after a sync and compared before a sync, and never block either. */

import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { canariesInFiles, watchCanaries } from './support/canaries.ts';
import { watchCommandLines } from './support/command-lines.ts';
import { MISBEHAVIOURS, redirect } from './support/github-misbehaviour.ts';
import { writePythonService } from './support/hand-made-service.ts';
import { type LocalDokploy, startLocalDokploy } from './support/local-dokploy.ts';
import { commitChange, syncedAt } from './support/platform-services.ts';
import { pushRun, waitForSync } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import { type Runner, runProgram } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { type SharedStage, shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const API_KEY = 'dokploy+CANARY/key=0123456789&%22';
const OTHER_HASH = 'ffffffffffff';
const REDIS_ENV = '# kept\r\nPASSWORD="a b # c"\nIAC_CONFIG_HASH=\nEMPTY=\n\nLAST=no line end';

const servicesSchema = z.object({
  services: z.array(
    z.object({
      service: z.string(),
      outcome: z.string(),
      synced: z.object({ commit: z.string(), config_hash: z.string(), url: z.string() }).nullable(),
      pinned_to: z.string().nullable(),
      drifted: z.boolean(),
      dokploy: z
        .object({
          config_hash: z.string().nullable(),
          to_be_written: z.boolean(),
          problem: z.string().nullable(),
        })
        .nullable(),
    }),
  ),
});
type Listed = z.output<typeof servicesSchema>['services'][number];

/** The environments of a Dokploy in which two services have no single place. */
const PROJECTS = {
  platform: {
    production: { redis: REDIS_ENV, minio: 'OLD=1\n', dashy: null, vault: '', postgres: 'P=1\r\n' },
    staging: { vault: 'S=1\n' },
  },
  finance_report: { production: { 'finance_report-app': 'B=2\n' } },
};

interface DokployStage extends SharedStage {
  dokploy: LocalDokploy;
}

/** One server and one Dokploy for most tests of this file. Each of these tests uses services of its own. */
function shareDokploy(name: string, environment: Record<string, string> = {}): () => DokployStage {
  let dokploy: LocalDokploy;
  beforeAll(async () => {
    dokploy = await startLocalDokploy({ apiKey: API_KEY, projects: PROJECTS });
  });
  const shared = shareStage(name, () => ({ ...settings(dokploy), ...environment }));
  beforeAll(() => until('the first look at the branch', () => firstLook(shared().runner)));
  afterEach(() => expect(dokploy.violations.splice(0)).toEqual([]));
  afterAll(() => dokploy.close());
  return () => ({ ...shared(), dokploy });
}

function settings(dokploy: LocalDokploy): Record<string, string | undefined> {
  return {
    CONFIG_HASH_STORE: 'dokploy',
    DOKPLOY_URL: dokploy.url,
    DOKPLOY_API_KEY: API_KEY,
    RECONCILE_INTERVAL: '1',
    LOG_LEVEL: 'trace',
    // These tests do not look at GitHub.
    GITHUB_TOKEN: undefined,
  };
}

function firstLook(runner: Runner): Record<string, unknown> | undefined {
  return runner.logs().find(({ msg }) => String(msg).startsWith('the branch is seen for the first time'));
}

async function listed(runner: Runner, id: string): Promise<Listed> {
  const { status, body } = await runner.getJson('/services');
  expect(status).toBe(200);
  const found = servicesSchema.parse(body).services.find(({ service }) => service === id);
  if (!found) throw new Error(`${id} is not listed.`);
  return found;
}

/** Pushes a change of these services and waits for the run to succeed. */
async function change({ stage, runner }: DokployStage, ids: string[]) {
  const commit = await commitChange(stage.repository, ids, `Change ${ids.join(', ')}`);
  const run = await waitForSync(runner, acceptedRun(await stage.push(runner)));
  return { commit, run, ran: await syncedAt(stage.journal, commit) };
}

async function page(runner: Runner, path: string): Promise<string> {
  const response = await fetch(runner.url + path, {
    headers: { accept: 'text/html', authorization: `Bearer ${API_TOKENS.viewer}` },
  });
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
  return response.text();
}

function hashIn(env: string | null): string | null {
  return /^IAC_CONFIG_HASH=([^\r\n]*)\r?$/m.exec(env ?? '')?.[1] ?? null;
}

async function waitForHash({ runner, dokploy }: DokployStage, id: string): Promise<string> {
  return until(
    `the hash of ${id} in Dokploy`,
    async () => {
      const hash = (await listed(runner, id)).synced?.config_hash;
      return hash !== undefined && hashIn(dokploy.env(id)) === hash ? hash : null;
    },
    { seen: () => dokploy.env(id) },
  );
}

/** Waits until the log has this message for the service `times` times. */
async function waitForDrift(runner: Runner, id: string, times = 1): Promise<void> {
  await until(`${times} drift(s) of ${id} in the log`, () => (driftsOf(runner, id) >= times ? true : null));
  expect(driftsOf(runner, id)).toBe(times);
}

function driftsOf(runner: Runner, id: string): number {
  return runner.logs().filter(({ msg, service }) => msg === 'changed outside' && service === id).length;
}

async function waitForLooks(dokploy: LocalDokploy, looks: number): Promise<void> {
  const before = dokploy.requests.length;
  await until(`${looks} more looks`, () => {
    const since = dokploy.requests.slice(before);
    return since.filter(({ procedure }) => procedure === 'project.all').length >= looks ? true : null;
  });
}

function writesTo({ requests }: LocalDokploy, name: string): number {
  return requests.filter(({ method, composeId }) => method === 'POST' && composeId?.includes(`-${name}+`))
    .length;
}

const TROUBLES = {
  'answers 500': MISBEHAVIOURS.serverError,
  'answers 401': { kind: 'answer', status: 401, body: { message: API_KEY, code: API_KEY } },
  'answers with a page': {
    kind: 'answer',
    status: 200,
    headers: { 'content-type': 'text/html' },
    body: '<!DOCTYPE html>',
  },
  'answers with other JSON': { kind: 'answer', status: 200, body: [{ name: 7, environments: 'none' }] },
  'answers with half of its JSON': MISBEHAVIOURS.truncated,
  'hangs up in the middle': MISBEHAVIOURS.cut,
  'resets the connection': MISBEHAVIOURS.reset,
} as const;

describe('Config hashes in Dokploy', () => {
  const shared = shareDokploy('dokploy');

  it.each([true, false])(
    'are written after a sync, each in its own line (texts in the list: %s)',
    async (lists) => {
      const { dokploy, runner } = shared();
      dokploy.listsEnvironments = lists;
      const [before, app] = [dokploy.env('platform/redis'), dokploy.env('finance_report/finance_report-app')];
      const { run } = await change(shared(), ['platform/redis', 'finance_report/app']);
      const { synced, drifted } = await listed(runner, 'platform/redis');
      expect(synced?.config_hash).toMatch(/^[0-9a-f]{12}$/);
      expect(drifted).toBe(false);
      const changed = before?.replace(/HASH=.*/, `HASH=${synced?.config_hash}`);
      expect(dokploy.env('platform/redis')).toBe(changed);
      const ofApp = (await listed(runner, 'finance_report/app')).synced?.config_hash;
      expect(dokploy.env('finance_report/finance_report-app')).toBe(
        `${app?.replace(/IAC.*\n/, '')}IAC_CONFIG_HASH=${ofApp}\n`,
      );
      expect(await page(runner, `/runs/${run.run_id}`)).not.toContain('class="notice"');
    },
  );

  it('are left alone by a reconcile that has nothing to do', async () => {
    const { dokploy, runner } = shared();
    await change(shared(), ['platform/redis']);
    const [writes, runs] = [writesTo(dokploy, 'redis'), (await runner.runs()).length];
    await waitForLooks(dokploy, 2);
    expect(writesTo(dokploy, 'redis')).toBe(writes);
    expect(await runner.runs()).toHaveLength(runs);
  });

  it('are written only after the task succeeded', async () => {
    const { stage, dokploy, runner } = shared();
    const isWanted = await stage.repository.head();
    await writePythonService(stage.repository, 'platform/04.dashy', 'sys.exit(3)');
    const { runId } = await pushRun(stage, runner);
    await waitForSync(runner, runId, 'failed');
    expect(writesTo(dokploy, 'dashy')).toBe(0);
    expect(await listed(runner, 'platform/dashy')).toMatchObject({ outcome: 'failed', drifted: false });
    await stage.repository.git('checkout', '--quiet', isWanted, '--', 'platform/04.dashy');
    await waitForSync(runner, (await pushRun(stage, runner)).runId);
    await waitForHash(shared(), 'platform/dashy');
  });

  it('are written without losing a change that somebody makes while the sync runs', async () => {
    const { dokploy } = shared();
    dokploy.onRequest = ({ procedure, composeId }) => {
      if (procedure !== 'compose.one' || !composeId?.includes('-minio+')) return;
      dokploy.setEnv('platform/minio', 'NEW=theirs\nIAC_CONFIG_HASH=\n');
      dokploy.onRequest = null;
    };
    dokploy.listsEnvironments = true;
    await change(shared(), ['platform/minio']);
    const hash = await waitForHash(shared(), 'platform/minio');
    expect(dokploy.env('platform/minio')).toBe(`NEW=theirs\nIAC_CONFIG_HASH=${hash}\n`);
  });

  it('are never written by guessing: the log says that there is no single place', async () => {
    const { dokploy, runner } = shared();
    const first = await change(shared(), ['platform/vault', 'platform/signoz']);
    const said = await page(runner, `/runs/${first.run.run_id}`);
    expect(said).toContain('The project platform has 2 compose services vault.');
    expect(said).toContain('The project platform has no compose service signoz or platform-signoz.');
    const second = await change(shared(), ['platform/redis']);
    expect(await page(runner, `/runs/${second.run.run_id}`)).toContain(
      'Not compared with Dokploy: platform/',
    );
    expect(writesTo(dokploy, 'vault')).toBe(0);
    expect(await listed(runner, 'platform/vault')).toMatchObject({ outcome: 'succeeded', drifted: false });
  });

  it('that were changed in Dokploy are reported once, and corrected when somebody requests a sync of the service', async () => {
    const { stage, dokploy, runner } = shared();
    await change(shared(), ['platform/postgres']);
    const hash = await waitForHash(shared(), 'platform/postgres');
    const runs = (await runner.runs()).length;
    dokploy.setEnv('platform/postgres', `P=theirs\r\nIAC_CONFIG_HASH=${OTHER_HASH}\r\n`);
    await waitForDrift(runner, 'platform/postgres');
    await waitForLooks(dokploy, 2);
    await waitForDrift(runner, 'platform/postgres');
    expect(await runner.runs()).toHaveLength(runs);
    const drifting = { drifted: true, dokploy: { config_hash: OTHER_HASH } };
    expect(await listed(runner, 'platform/postgres')).toMatchObject(drifting);

    const { run, ran } = await change(shared(), ['platform/redis']);
    expect(ran).toEqual(['platform/redis']);
    expect(run).toMatchObject({ why: { notes: ['Changed outside: platform/postgres.'] } });
    expect(JSON.stringify(run.why)).toContain(`Dokploy has ${OTHER_HASH} in place of ${hash}.`);
    expect(await page(runner, `/runs/${run.run_id}`)).toContain('Changed outside: platform/postgres.');

    const asked = await runner.signedPost('/sync', { services: ['platform/postgres'] });
    await runner.waitForRun(acceptedRun(asked), 'succeeded');
    expect(dokploy.env('platform/postgres')).toBe(`P=theirs\r\nIAC_CONFIG_HASH=${hash}\r\n`);
    expect((await listed(runner, 'platform/postgres')).drifted).toBe(false);

    // Another change is reported again. A value that is no hash is not shown.
    dokploy.setEnv('platform/postgres', 'IAC_CONFIG_HASH=<script>');
    await waitForDrift(runner, 'platform/postgres', 2);
    const services = await page(runner, '/services');
    expect(services).toContain('Changed outside: platform/postgres');
    expect(services).toContain(`Dokploy has no hash in place of ${hash}.`);
    expect(services).not.toContain('<script>');
    expect(await syncedAt(stage.journal, await stage.repository.head())).not.toContain('platform/vault');
  });

  it('stop no sync while Dokploy has trouble, and are written when Dokploy works again', async () => {
    const { dokploy, runner } = shared();
    await change(shared(), ['platform/redis']);
    const runs = (await runner.runs()).length;
    for (const [what, how] of Object.entries(TROUBLES)) {
      const stopTrouble = dokploy.misbehave({ how, times: 'forever' });
      const { run, ran } = await change(shared(), ['platform/redis']);
      expect(ran, what).toEqual(['platform/redis']);
      const said = await page(runner, `/runs/${run.run_id}`);
      expect(said, what).toContain('The ledger decides.');
      expect(said, what).toContain('The config hash of platform/redis is not in Dokploy yet.');
      const owed = { outcome: 'succeeded', drifted: false, dokploy: { to_be_written: true } };
      expect(await listed(runner, 'platform/redis'), what).toMatchObject(owed);
      stopTrouble();
      await waitForHash(shared(), 'platform/redis');
    }
    // The hash was written without a run, and the server did not report it as a change by somebody else.
    expect(await runner.runs()).toHaveLength(runs + Object.keys(TROUBLES).length);
    expect(driftsOf(runner, 'platform/redis')).toBe(0);
  });

  it('are not looked up, and the key is not sent, when Dokploy redirects to another address', async () => {
    const { dokploy, runner } = shared();
    const elsewhere = await startLocalDokploy({ apiKey: API_KEY, projects: {} });
    onTestFinished(() => elsewhere.close());
    await change(shared(), ['platform/redis']);
    const stopTrouble = dokploy.misbehave({
      how: redirect(`${elsewhere.url}/project.all`),
      times: 'forever',
    });
    const { run } = await change(shared(), ['platform/redis']);
    stopTrouble();
    expect(await page(runner, `/runs/${run.run_id}`)).toContain(
      'Set DOKPLOY_URL to the address that it redirects to.',
    );
    expect(elsewhere.requests).toEqual([]);
  });

  it('stop no sync while Dokploy does not answer, and are written when it answers again', async () => {
    const { dokploy, runner } = shared();
    await change(shared(), ['platform/redis']);
    // Each look at the branch asks Dokploy too, so Dokploy answers none of them until the run has ended.
    const stopTrouble = dokploy.misbehave({ how: MISBEHAVIOURS.hang, times: 'forever' });
    const { run } = await change(shared(), ['platform/redis']);
    stopTrouble();
    expect(await page(runner, `/runs/${run.run_id}`)).toContain('no answer within 10 s');
    await waitForHash(shared(), 'platform/redis');
  });

  it('are listed for all services, with their pins, for people who are signed in', async () => {
    const { runner } = shared();
    expect((await runner.getJson('/services', null)).status).toBe(401);
    const { commit } = await change(shared(), ['platform/authentik']);
    await change(shared(), ['platform/authentik']);
    const back = await runner.signedPost('/sync', { services: ['platform/authentik'], revision: commit });
    await runner.waitForRun(acceptedRun(back), 'succeeded');
    const pinned = { outcome: 'succeeded', pinned_to: commit, synced: { commit } };
    expect(await listed(runner, 'platform/authentik')).toMatchObject(pinned);
    const never = { outcome: 'never_synced', synced: null };
    expect(await listed(runner, 'platform/clickhouse')).toMatchObject(never);
    const services = await page(runner, '/services');
    expect(services).toContain(`Pinned to ${commit.slice(0, 8)}`);
    expect(services).toContain('never synced');
  });

  it('keep the key out of every log, page, file and command line, even when a task prints the key', async () => {
    const { stage, runner } = shared();
    const commandLines = watchCommandLines();
    onTestFinished(() => commandLines.stop());
    await writePythonService(stage.repository, 'platform/01.redis', 'print(os.environ["DOKPLOY_API_KEY"])');
    const { run_id: runId } = await waitForSync(runner, (await pushRun(stage, runner)).runId);
    const canaries = watchCanaries({ DOKPLOY_API_KEY: API_KEY });
    const seen = await canariesInFiles(stage.folder, canaries);
    for (const path of ['/runs', '/services', '/ready', `/runs/${runId}`, `/runs/${runId}/log`]) {
      const { body, headers } = await runner.getJson(path);
      seen.push(...canaries.seenIn(JSON.stringify({ body, headers: [...headers] })));
    }
    seen.push(...canaries.seenIn(runner.output()), ...canaries.seenIn([...commandLines.seen].join('\n')));
    expect(seen).toEqual([]);
  });
});

describe('SELF_HEAL', () => {
  const shared = shareDokploy('dokploy-heal', { SELF_HEAL: 'true' });

  it('syncs again a service that was changed in Dokploy: by reconcile with growing pauses, by a push, and after a restart', async () => {
    const { stage, dokploy, runner } = shared();
    await change(shared(), ['platform/redis', 'platform/minio']);
    dokploy.setEnv('platform/redis', `A=theirs\nIAC_CONFIG_HASH=${OTHER_HASH}\n`);
    const healing = await runner.waitForRun(({ trigger }) => isReconcile(trigger), 'succeeded');
    expect(JSON.stringify(healing.why)).toContain(`Changed outside: Dokploy has ${OTHER_HASH}`);
    await waitForHash(shared(), 'platform/redis');
    const { syncs } = await stage.journal.read();
    expect(syncs.filter(({ service }) => service === 'platform/redis')).toHaveLength(2);
    expect(syncs).toHaveLength(3);

    dokploy.setEnv('platform/redis', 'A=theirs\n');
    await waitForDrift(runner, 'platform/redis', 2);
    await waitForLooks(dokploy, 2);
    expect(await runner.runs()).toHaveLength(2);
    const { ran } = await change(shared(), ['platform/dashy']);
    expect(ran).toEqual(['platform/dashy', 'platform/redis']);
    await waitForHash(shared(), 'platform/redis');

    await runner.kill();
    dokploy.setEnv('platform/minio', `IAC_CONFIG_HASH=${OTHER_HASH}`);
    const next = await stage.start({ environment: { ...settings(dokploy), SELF_HEAL: 'true' } });
    await waitForHash({ stage, dokploy, runner: next }, 'platform/minio');
    expect((await next.runs())[0]).toMatchObject({ trigger: { source: 'reconcile' } });
  });
});

function isReconcile(trigger: unknown): boolean {
  return z.object({ source: z.literal('reconcile') }).safeParse(trigger).success;
}

describe('CONFIG_HASH_STORE=dokploy without a key', () => {
  it('does not start, and says which variable is missing', async () => {
    const stage = await setTestStage('dokploy-refused');
    const environment = { CONFIG_HASH_STORE: 'dokploy', INTERNAL_DOMAIN: undefined };
    const { exitCode, stderr } = await runProgram(['serve'], { ...stage.runnerOptions, environment });
    expect(exitCode).toBe(3);
    expect(stderr).toContain('DOKPLOY_URL is missing: expected');
    expect(stderr).toContain('DOKPLOY_API_KEY is missing: expected');
  });
});
