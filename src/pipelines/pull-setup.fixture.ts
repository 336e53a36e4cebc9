/** Runs plans and comment commands without a server: the setup of a deployment, and a pull request that changes its root. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { canariesBelow } from '../faults/canaries-below.fixture.ts';
import type { PullReader } from '../github/pull-reader.ts';
import type { CommandInput } from '../runs/command.ts';
import { enqueueRun } from '../runs/enqueue.ts';
import type { Run } from '../runs/run.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { createEventWriter } from '../worker/event-writer.ts';
import { command } from './comment-command/command.ts';
import { openDeploySetup } from './deploy/deploy-setup.fixture.ts';
import type { Outcome } from './pipeline.ts';
import { plan } from './plan/plan.ts';

const NO_SECRETS = { environment: {}, git: null, initFlags: [], planFlags: [] };
const URLS = { apiUrl: 'https://api.github.com' };
const ADA = { id: 1, login: 'ada' };
const BOB = { id: 2, login: 'bob' };

export type PullSetup = Awaited<ReturnType<typeof openPullSetup>>;

export async function openPullSetup() {
  const setup = await openDeploySetup();
  const { world, store } = setup;
  const { shell } = world;
  const head = await world.commit({ 'main.tf': '# changed\n' });
  await shell(['push', '-q', 'origin', 'HEAD:refs/pull/7/head', '+HEAD~1:refs/heads/main']);
  const cloneUrl = `file://${world.remote}`;
  const github = { approved: true };

  function planAs(seen: RunStore) {
    const options = setup.optionsFor(seen, NO_SECRETS);
    const { repositories } = options;
    return {
      ...options,
      repositories: { configured: repositories, sealed: repositories },
      latestEvent: seen.latestEvent,
      async credentials({ id }: Run) {
        return (await seen.sealed(id)) === null ? null : { git: null, secrets: ['ghs_CANARY01234'] };
      },
      lookUp: async () => ({ isOpen: true, head, fromFork: true }),
      timeoutMs: 60_000,
    };
  }

  function commandAs(seen: RunStore) {
    return {
      store: seen,
      github: () => readerOf(head, () => github.approved),
      repository: setup.optionsFor(seen, NO_SECRETS).repositories,
      sealSecrets: JSON.stringify,
      environment: {},
      timeoutMs: 60_000,
      runUrl: (id: string) => `https://iac.example.com/runs/${id}`,
      now: Date.now,
    };
  }

  async function perform({ run, lease }: Claim, seen: RunStore): Promise<Outcome> {
    const { signal } = new AbortController();
    const writer = createEventWriter(seen, lease, signal);
    const rest = { covers: [], signal, draining: signal, emit: writer.emit };
    try {
      if (run.kind === 'plan') return await plan(planAs(seen), { run, ...rest });
      if (run.kind === 'command') return await command(commandAs(seen), { run, ...rest });
    } finally {
      await writer.finish([]);
    }
    throw new Error(`The setup is not for a run of the kind ${run.kind}.`);
  }

  return {
    ...setup,
    perform,
    /** GitHub's answers from now on. */
    github,
    async askForPlan(planId: string): Promise<Run> {
      const { run } = await enqueueRun(store, 'plan', {
        trigger: { source: 'pubsub' },
        sealed: 'sealed',
        input: {
          ...URLS,
          repository: 'acme/infra',
          pullRequest: 7,
          cloneUrl,
          planId,
          requestId: null,
          headRef: 'topic',
          baseRef: 'main',
          revision: head,
          fromFork: true,
          credential: 'sealed',
          roots: null,
        },
      });
      return run;
    },
    async askForApply(commentId: number): Promise<Run> {
      const input: CommandInput = {
        ...URLS,
        repository: 'acme/infra',
        pullRequest: 7,
        cloneUrl,
        branch: 'main',
        command: 'apply',
        author: ADA,
        commentId,
        writtenAt: Date.now(),
      };
      const { run } = await enqueueRun(store, 'command', {
        trigger: { source: 'comment', actor: ADA.login },
        input,
      });
      return run;
    },
    /** The folder, files with credentials and processes that a run has left but must not leave. */
    leftOf(runId: string): string[] {
      const { directory } = setup;
      const files = existsSync(directory) ? readdirSync(directory, { recursive: true }).map(String) : [];
      const secret = new Set([
        ...(files.length > 0 ? canariesBelow(directory) : []),
        ...files.filter((file) => file.endsWith('cli.tfrc')),
      ]);
      return [...files.filter((file) => file === runId), ...secret, ...processesNaming(world.root)];
    },
  };
}

function readerOf(head: string, isApproved: () => boolean): PullReader {
  return {
    pull: async () => ({
      isOpen: true,
      isDraft: false,
      head,
      fromFork: false,
      headRef: 'topic',
      baseRef: 'main',
      author: ADA,
      mergeable: true,
      mergeableState: 'clean',
    }),
    reviews: async () =>
      isApproved() ? [{ reviewer: BOB, state: 'APPROVED', commit: head, submittedAt: 0 }] : [],
    mayWrite: async () => true,
  };
}

/** The commands of all processes that name `folder`, by proc_pid_cmdline(5). */
function processesNaming(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        // It has ended.
        return '';
      }
    })
    .filter((command) => command.includes(folder));
}
