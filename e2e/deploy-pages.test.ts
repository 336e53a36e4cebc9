/** Deployments in a real browser: the plan appears, and people with permission approve or reject it on the page. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { shareBrowser, signIn } from './support/browser.ts';
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
const openPage = shareBrowser();

const outcome = (page: Page, state: string) => page.locator(`#outcome .state[data-state="${state}"]`);
const buttons = (page: Page) => page.locator('main button').allTextContents();

/** Terraform prints the lines of such a text unchanged. */
const HOSTILE = `<img src=x onerror=alert('plan')>
</pre></div></details></main><script>alert('plan')</script>
abc\u202egnp.exe`;

describeUnless(unavailable, 'Pages of deployments', () => {
  let stage: DeploymentStage;
  let runner: Runner;
  const api = deploymentClient(() => runner, '');
  const start = (fields: Record<string, unknown> = {}) => api.start({ git_url: stage.gitUrl, ...fields });

  beforeAll(async () => {
    stage = await setDeploymentStage('deploy-pages');
    const hostile = `resource "terraform_data" "x" {\n  input = <<EOT\n${HOSTILE}\nEOT\n}\noutput "x" {\n  value = terraform_data.x.output\n}\n`;
    await stage.commit({
      'main.tf': MODULE,
      'rejected/main.tf': MODULE,
      'forged/main.tf': MODULE,
      'hostile/main.tf': hostile,
    });
    runner = await stage.serve();
  });
  afterAll(() => stage.close());

  it('show the plan as it is made, let an admin approve it, and then show the result', async (context) => {
    const admin = await openPage(context);
    const operator = await openPage(context);
    const id = await start({ plan_flags: '-var name=ada' });
    await signIn(admin.page, runner.url, API_TOKENS.admin, `/runs/${id}`);
    await signIn(operator.page, runner.url, API_TOKENS.operator, `/runs/${id}`);
    for (const { page } of [admin, operator]) {
      await outcome(page, 'awaiting_approval').waitFor();
      await page.getByText('Anybody with the role admin may approve or reject it').waitFor();
      await page.locator('.plan-text .plan-add', { hasText: '+ resource "terraform_data"' }).waitFor();
      expect(await page.locator('.plan-summary').textContent()).toBe('1 to add, 0 to change, 0 to destroy');
      expect(await page.locator('.resources li').allTextContents()).toEqual([
        'create terraform_data.greeting',
      ]);
      await page.evaluate('window.loadedOnce = true');
    }
    expect(await buttons(admin.page)).toEqual(['Cancel', 'Approve', 'Reject']);
    expect(await buttons(operator.page)).toEqual(['Cancel']);
    expect(await admin.page.locator('[data-until]').textContent()).toMatch(/^\d+ h \d\d min left$/);

    await admin.page.getByRole('button', { name: 'Approve' }).click();
    for (const { page } of [admin, operator]) {
      await outcome(page, 'succeeded').waitFor();
      await page.getByText('Approved by admin').waitFor();
      await page.locator('.outputs').waitFor();
      expect(await page.locator('.outputs tbody tr').allTextContents()).toEqual([
        expect.stringMatching(/greeting\s+hello ada/),
        expect.stringMatching(/password\s+\(sensitive\)/),
      ]);
      expect(await page.locator('#approval code').textContent()).toMatch(/^[0-9a-f]{64}$/);
      expect(await page.locator('details.step .state').allTextContents()).toEqual(
        Array.from({ length: 5 }, () => 'succeeded'),
      );
      expect(await buttons(page)).toEqual([]);
      expect(await page.content()).not.toContain('CANARY');
    }
    // The operator's page was never reloaded.
    expect(await operator.page.evaluate('window.loadedOnce')).toBe(true);
    // Each step opens when it starts.
    await operator.page.getByText('Apply complete! Resources: 1 added').waitFor();
    for (const { complaints } of [admin, operator]) expect(complaints).toEqual([]);
  });

  it('let an operator reject a deployment, and show it in the history of its target', async (context) => {
    const { page, complaints } = await openPage(context);
    const id = await start({ path: 'rejected' });
    await api.waitForState(id, 'awaiting_approval');
    await signIn(page, runner.url, API_TOKENS.admin, `/runs/${id}`);
    await page.getByRole('button', { name: 'Reject' }).click();
    await outcome(page, 'cancelled').waitFor();
    await page.getByText('Rejected by admin').first().waitFor();
    const next = await start({ path: 'rejected' });
    await api.waitForState(next, 'awaiting_approval');
    await page.goto(`${runner.url}/runs/${next}`);
    const row = page.locator('#history tr', { hasText: 'cancelled' });
    expect(await row.count()).toBe(1);
    await row.getByRole('link', { name: 'Rejected by admin' }).click();
    await page.waitForURL(`${runner.url}/runs/${id}`);
    await page.goto(`${runner.url}/runs?kind=deploy&state=awaiting_approval`);
    await page.getByRole('link', { name: 'Deploy rejected of' }).first().click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await outcome(page, 'cancelled').waitFor();
    await page.getByText('Nobody decided').waitFor();
    expect((await api.status(next)).status).toBe('cancelled');
    expect(complaints).toEqual([]);
  });

  it('do not accept an approval from a foreign page, although the browser sends the session cookie', async (context) => {
    const { page } = await openPage(context);
    const id = await start({ path: 'forged' });
    await api.waitForState(id, 'awaiting_approval');
    await signIn(page, runner.url, API_TOKENS.admin, `/runs/${id}`);
    const forged = createServer((_request, response) => {
      response.setHeader('Content-Type', 'text/html');
      response.end(
        `<form method="post" action="${runner.url}/runs/${id}/approve"><button>Win</button></form>`,
      );
    });
    await new Promise<void>((resolve) => forged.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void forged.close());
    // Another port belongs to the same site, so the browser sends a cookie there whatever its SameSite says.
    const { hostname } = new URL(runner.url);
    const { port } = forged.address() as AddressInfo;
    await page.goto(`http://${hostname}:${port}/`);
    await page.getByRole('button', { name: 'Win' }).click();
    await page.getByText('The request did not come from a page of this server.').waitFor();
    expect((await api.status(id)).status).toBe('awaiting_approval');
    await api.reject(id);
  });

  it('F48: show a hostile plan and hostile output as text', async (context) => {
    const { page, complaints } = await openPage(context, { viewport: { width: 390, height: 844 } });
    const id = await start({ path: 'hostile' });
    await signIn(page, runner.url, API_TOKENS.admin, `/runs/${id}`);
    await outcome(page, 'awaiting_approval').waitFor();
    const plan = page.locator('.plan-text');
    await plan.waitFor();
    expect(await plan.textContent()).toContain(`<img src=x onerror=alert('plan')>`);
    expect(await plan.textContent()).toContain(`</pre></div></details></main><script>alert('plan')</script>`);
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.locator('.outputs').getByText(`<img src=x onerror=alert('plan')>`).waitFor();
    expect(await page.locator('main img, main script').count()).toBe(0);
    expect(await page.locator('main').textContent()).not.toMatch(/(?!\n)\p{Cc}|\p{Bidi_Control}/u);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    expect(complaints).toEqual([]);
    await page.getByRole('link', { name: 'Whole plan as text' }).click();
    await page.waitForURL(`${runner.url}/runs/${id}/plan`);
    expect(await page.textContent('body')).toContain(`<script>alert('plan')</script>`);
  });
});
