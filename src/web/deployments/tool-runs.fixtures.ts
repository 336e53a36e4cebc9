/** Deployments and plans behind their pages, for tests, as their pipelines would have stored them. */

import type { PlanSummary } from '../../runs/deployments/deployment.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import { AS_VIEWER, BROWSER, createTestPages, WANTS_JSON } from '../pages.fixtures.ts';
import { createTestRuns, START_AT, type TestRuns } from '../runs.fixtures.ts';

export const SHA = 'abcdef1234567890abcdef1234567890abcdef12';
export const DIGEST = '5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef';
export const TEXT = `Terraform will perform the following actions:

  # terraform_data.a must be replaced
-/+ resource "terraform_data" "a" {
      ~ id    = "1" -> (known after apply)
        # (2 unchanged attributes hidden)
    }
  + resource "terraform_data" "b" {
  - resource "terraform_data" "c" {
 <= data "terraform_data" "d" {

Plan: 2 to add, 0 to change, 2 to destroy.`;
export const SUMMARY: PlanSummary = {
  add: 2,
  change: 0,
  destroy: 2,
  replace: 1,
  resources: [
    { address: 'terraform_data.a', action: 'replace' },
    { address: 'terraform_data.b', action: 'create' },
  ],
  omitted: 1,
  outputs: ['greeting'],
};
export const NO_CHANGES: PlanSummary = {
  ...SUMMARY,
  add: 0,
  destroy: 0,
  replace: 0,
  resources: [],
  omitted: 0,
  outputs: [],
};

export const started: RunEventBody = { type: 'run.started', owner: 'w', attempt: 1 };
export const stepStarted = (step: string): RunEventBody => ({
  type: 'step.started',
  step,
  command: [],
  ledger: null,
});
export const ended = (
  step: string,
  state: 'succeeded' | 'failed' | 'blocked' = 'succeeded',
): RunEventBody => ({
  type: 'step.finished',
  step,
  state,
  message: 'Done',
  exitCode: 0,
  ledger: null,
});
export const announced = (...steps: string[]) =>
  steps.map(
    (step, position): RunEventBody => ({
      type: 'step.planned',
      step,
      position,
      wave: position,
      message: 'Waiting',
    }),
  );
export const planned = (text = TEXT, step = 'plan', summary: PlanSummary | null = SUMMARY): RunEventBody => ({
  type: 'run.planned',
  step,
  summary,
  text,
});
export const awaiting: Extract<RunEventBody, { type: 'run.awaiting_approval' }> = {
  type: 'run.awaiting_approval',
  subject: DIGEST,
  expiresAt: START_AT + 2 * 3_600_000,
  message: 'Awaiting approval: 2 to add, 0 to change, 2 to destroy',
};
export const TO_APPROVAL = [
  started,
  ...announced('clone', 'plan', 'apply'),
  stepStarted('clone'),
  { type: 'run.revision', revision: SHA, subject: 'Move the subnets' } as const,
  ended('clone'),
  stepStarted('plan'),
  planned(),
  ended('plan'),
  awaiting,
];

export function createPages(fill: (store: TestRuns) => void = () => {}) {
  const store = createTestRuns();
  store.addDeploy('d1');
  store.append('d1', ...TO_APPROVAL);
  fill(store);
  const pages = createTestPages(store);
  const show = async (path: string, who: Record<string, string> = AS_VIEWER) =>
    (await pages.app.request(path, { headers: { ...who, ...BROWSER } })).text();
  const json = async (path: string) =>
    (await pages.app.request(path, { headers: { ...AS_VIEWER, ...WANTS_JSON } })).json();
  return { store, show, json, ...pages };
}
