/**
 * The live log of a deployment: each subscriber gets every line once, can resume, sees the end, and can read large
 * plans.
 */

import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type DeploymentStage,
  deploymentClient,
  MODULE,
  setDeploymentStage,
  withoutTerraform,
} from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import type { Runner } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';

const unavailable = withoutTerraform();

interface Message {
  id: string | null;
  event: string;
  data: string;
}

describeUnless(unavailable, 'The log of a deployment', () => {
  let stage: DeploymentStage;
  let runner: Runner;
  const api = deploymentClient(() => runner, '');

  beforeAll(async () => {
    stage = await setDeploymentStage('deploy-stream');
    await stage.commit({ 'main.tf': MODULE });
    runner = await stage.serve();
  });
  afterAll(() => stage.close());

  async function listen(id: string, lastEventId?: string): Promise<Message[]> {
    const response = await fetch(`${runner.url}/deploy/${id}/logs`, {
      headers: {
        authorization: `Bearer ${API_TOKENS.viewer}`,
        ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
      },
      signal: AbortSignal.timeout(120_000),
    });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const blocks = (await response.text()).split('\n\n');
    return blocks.flatMap((block) => {
      const event = /^event: (.*)$/m.exec(block)?.[1];
      if (event === undefined) return [];
      const data = [...block.matchAll(/^data: ?(.*)$/gm)].map(([, line]) => line).join('\n');
      return [{ id: /^id: (.*)$/m.exec(block)?.[1] ?? null, event, data }];
    });
  }

  const lines = (messages: readonly Message[]) =>
    messages.filter(({ event }) => event === 'log').map(({ data }) => data);

  it('reaches each of two subscribers completely and once, early or late, and ends', async () => {
    const id = await api.start({ git_url: stage.gitUrl });
    const early = listen(id);
    await api.waitForState(id, 'awaiting_approval');
    const later = listen(id);
    await api.approve(id);
    const [one, two, after] = await Promise.all([early, later, early.then(() => listen(id))]);
    expect(lines(two)).toEqual(lines(one));
    expect(lines(after)).toEqual(lines(one));
    expect(lines(one).join('\n')).toContain('Apply complete!');
    expect(new Set(one.map((message) => message.id).filter((mark) => mark !== null)).size).toBe(
      one.filter((message) => message.id !== null).length,
    );
    expect(one.at(-1)?.event).toBe('end');
    expect(one.some(({ event }) => event === 'status')).toBe(true);

    const middle = one.filter(({ event }) => event === 'log')[3];
    const resumed = await listen(id, middle?.id ?? '');
    expect(lines(resumed)).toEqual(lines(one).slice(4));
  });

  it('carries a plan of five megabytes, and so does the status', async () => {
    const value = 'x'.repeat(9_000);
    const resources = Array.from(
      { length: 600 },
      (_, index) => `resource "terraform_data" "r${index}" {\n  input = "${index}-${value}"\n}\n`,
    );
    await stage.commit({ 'large/main.tf': resources.join('\n') });
    const id = await api.start({ git_url: stage.gitUrl, path: 'large' });
    const planned = await api.waitForState(id, 'awaiting_approval');
    expect(planned.plan_output?.length).toBeGreaterThan(5_000_000);
    await api.reject(id);
    const messages = await listen(id);
    expect(lines(messages).join('\n').length).toBeGreaterThan(5_000_000);
    const health = await fetch(`${runner.url}/health`);
    expect(health.status).toBe(200);
  }, 180_000);
});
